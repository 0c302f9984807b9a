"""The queue in plain Python: what each call answers, and all that is in Redis after it.

Written from the design, not from the scripts, and as simply as may be: a list, some dictionaries, a clock.  A call is
read from the arguments that were sent, so a test also sees what the public functions made of theirs.
"""

from __future__ import annotations

from typing import Any

from model.model_calls import (
    BLOCK,
    Bury,
    Call,
    Cancel,
    Claim,
    Enqueue,
    Given,
    Limit,
    Redrive,
    Release,
    Requeue,
    Resume,
    Sweep,
    Touch,
)
from model.model_groups import CANCELLED, COMPLETED, DEAD, DELAYED, PENDING, REJECTED, WORKING
from model.model_places import MINUTE, Record
from model.model_schedules import Scheduled
from model.model_taking import Taking


class Model(Scheduled):
    """A queue that carries calls out."""

    def run(self, call: Call, resent: bool = False) -> Any:
        """Carry a call out: the outcome of each task, or what the call replies else."""
        self._forget_record(call.acknowledged)
        if call.name == 'enqueue':
            return self._enqueue(call.items, call.limit, resent)
        return getattr(self, f'_{call.name}')(call.items, resent)

    # Producers

    def _enqueue(self, items: list[Enqueue], limit: int | None, resent: bool) -> list[Any]:
        size = len(self.payloads) - len(self.dead)
        outcomes: list[Any] = []
        new = []
        accepted: list[Enqueue] = []
        for item in items:
            state = self.states.get(item.task_id)
            freed = 0
            if state and (resent or item.mark is not None):
                # Nobody else has an id that was made here: it is the same call again.
                if item.mark is None or self._marked(state, item.mark):
                    outcomes.append('ok')
                    continue
                if state['status'] != CANCELLED:
                    outcomes.append(['duplicate', item.task_id])
                    continue
                freed = item.task_id in self.working
            if limit is not None and size - freed >= limit:
                outcomes.append(['full', size])
                continue
            size += 1 - freed
            accepted.append(item)
            outcomes.append('ok')
            if item.mark is None and item.task_id in self.payloads:
                # It comes after its own repetition.
                continue
            if freed:
                self._meet(item.task_id)
            self.working.pop(item.task_id, None)
            self._drop(item.task_id)
            state = self.states[item.task_id] = {
                'status': DELAYED if item.delay else PENDING,
                'timeout': str(item.timeout),
                'enqueue_time': str(self.now),
            }
            if item.max_attempts is not None:
                state['max_attempts'] = str(item.max_attempts)
            if item.mark is not None:
                state['mark'] = item.mark
            self.payloads[item.task_id] = item.payload
            new.append(item)
        self._rank(new, accepted)
        ready: list[str] = []
        for item in new:
            if item.delay:
                self.delayed[item.task_id] = self.now + item.delay
                self.bell |= item.delay <= BLOCK
                self._meet(item.task_id)
            else:
                self._place(item.task_id, ready)
        self._append(ready)
        self._settle()
        return outcomes

    def _rank(self, items: list[Enqueue], accepted: list[Enqueue]) -> None:
        """Give those of a group or with a priority their order.  The numbers of the others of the call are not used."""

        def is_ranked(item: Enqueue) -> bool:
            return item.group is not None or item.priority != 0

        for place, item in enumerate(filter(is_ranked, items), 1):
            state = self.states[item.task_id]
            state['order'] = str((self.seq or 0) + 2 * place - item.priority * 2**45)
            if item.group is not None:
                state['group'], state['tied'] = item.group, '1'
            if item.priority:
                state['priority'] = str(item.priority)
        if any(map(is_ranked, accepted)):
            self.seq = (self.seq or 0) + 2 * len(accepted)

    def _cancel(self, items: list[Cancel], resent: bool) -> list[str]:
        outcomes = []
        for item in items:
            self._meet(item.task_id)
        for task_id, mark, only in items:
            state = self.states.get(task_id)
            if not state:
                outcomes.append('unknown')
                continue
            status = state['status']
            if status in (COMPLETED, REJECTED, CANCELLED):
                outcomes.append('ok' if self._marked(state, mark) else 'final')
                continue
            if only and str(int(status)) not in only:
                outcomes.append('changed')
                continue
            self._revoke(task_id)
            self._mark(state, mark)
            outcomes.append('ok')
        self._settle()
        self._forget()
        return outcomes

    # Consumers

    def _claim(self, items: list[Claim], resent: bool) -> Given:
        (claim,) = items
        self.unheard = False
        record = self.records.get(claim.record)
        if record:
            ids = [
                task_id
                for task_id in record.ids
                if self.status(task_id) == WORKING and self.states[task_id]['last_dequeue_time'] == record.time
            ]
        else:
            ids = Taking(self, claim).take()
            self.settle_groups()
            if ids:
                self.records[claim.record] = Record(self.exact, ids)
                self.record_ends[claim.record] = self.now + MINUTE
        wait = self._tend(len(ids) < claim.stays)
        tasks = [
            (task_id, self.payloads[task_id], int(self.states[task_id]['dequeue_count']), self.token(task_id))
            for task_id in ids
        ]
        return Given(tasks, wait, self.work_is_left)

    def _requeue(self, items: list[Requeue], resent: bool) -> list[str]:
        outcomes = []
        cleared = False
        tail: list[str] = []
        for item in items:
            state = self.states.get(item.task_id)
            outcome = self._judge(state, item.token)
            if state and self._marked(state, item.mark):
                outcome = 'dead' if state['status'] == DEAD else 'ok'
            elif state and outcome == 'ok':
                outcome = self._give_back(item, state, tail)
            elif outcome == 'cancelled':
                cleared = True
                self._clear(item.task_id)
            outcomes.append(outcome)
        self._append(tail)
        self._settle()
        if cleared:
            self._forget()
        return outcomes

    def _give_back(self, item: Requeue, state: dict[str, str], tail: list[str]) -> str:
        del self.working[item.task_id]
        self._mark(state, item.mark)
        if item.timeout is not None:
            state['timeout'] = str(item.timeout)
        if item.forgive:
            state['forgiven'] = str(int(state.get('forgiven', 0)) + 1)
        elif item.error:
            self._remember(state, item.error)
        if item.error:
            state['error'] = item.error
        if self._used_up(state):
            self._meet(item.task_id)
            self._lay(item.task_id, 'its attempts are used up')
            return 'dead'
        if item.delay:
            state['status'] = DELAYED
            self.delayed[item.task_id] = self.now + item.delay
            self.bell |= item.delay <= BLOCK
        else:
            self._return(state)
            if item.forgive and 'order' not in state:
                self._append([item.task_id], head=True)
            else:
                self._place(item.task_id, tail)
        return 'ok'

    def _release(self, items: list[Release], resent: bool) -> list[str]:
        outcomes = []
        released: dict[str, str] = {}
        for item in items:
            state = self.states.get(item.task_id)
            outcome = 'unknown' if item.task_id in released else self._judge(state, item.token)
            if outcome == 'ok':
                released[item.task_id] = item.token
                self._meet(item.task_id)
                del self.working[item.task_id]
                del self.payloads[item.task_id]
                if item.status is None or not item.ttl:
                    self._drop(item.task_id)
                else:
                    assert state
                    state['status'] = item.status
                    if item.result is not None:
                        state['result'] = item.result.decode()
                    self._finish(item.task_id, item.ttl)
            elif resent and released.get(item.task_id) != item.token and self._seems_released(item, outcome):
                released[item.task_id] = item.token
                outcome = 'ok'
            elif outcome == 'cancelled':
                self._clear(item.task_id)
            outcomes.append(outcome)
        self._settle()
        self._forget()
        return outcomes

    def _seems_released(self, item: Release, outcome: str) -> bool:
        """Whether a task may have been released by the first sending of a call."""
        if self.status(item.task_id) == CANCELLED and outcome in ('cancelled', 'not_working'):
            return item.status == CANCELLED and item.task_id not in self.working
        if outcome == 'unknown' and item.held is not None:
            # Sent by somebody who may have lost the lease.
            return bool(self.now < float(item.token.partition('-')[2]) + item.held)
        return outcome == 'unknown' or outcome == 'not_working' and self.status(item.task_id) in (COMPLETED, REJECTED)

    def _touch(self, items: list[Touch], resent: bool) -> list[str]:
        outcomes = []
        for item in items:
            state = self.states.get(item.task_id)
            outcome = self._judge(state, item.token)
            if state and outcome == 'ok':
                lease = int(state['timeout']) if item.timeout is None else item.timeout
                self.working[item.task_id] = self.now + lease
                self.bell |= lease <= BLOCK
                if item.progress is not None:
                    state['progress'] = item.progress.decode()
            outcomes.append(outcome)
        return outcomes

    def _bury(self, items: list[Bury], resent: bool) -> list[str]:
        outcomes = []
        cleared = False
        for item in items:
            state = self.states.get(item.task_id)
            outcome = self._judge(state, item.token)
            if state and self._marked(state, item.mark):
                outcome = 'ok'
            elif state and outcome == 'ok':
                del self.working[item.task_id]
                self._mark(state, item.mark)
                self._remember(state, item.error)
                if item.error:
                    state['error'] = item.error
                self._meet(item.task_id)
                self._lay(item.task_id)
                if item.tell_after is not None:
                    self.untold[item.task_id] = self.now + item.tell_after
            elif outcome == 'cancelled':
                cleared = True
                self._clear(item.task_id)
            outcomes.append(outcome)
        self._settle()
        if cleared:
            self._forget()
        return outcomes

    def _leave(self, items: list[Any], resent: bool) -> None:
        self._tend(False)

    # Operators

    def _redrive(self, items: list[Redrive], resent: bool) -> list[str]:
        outcomes = []
        brought = set()
        ready: list[str] = []
        for task_id, mark in items:
            state = self.states.get(task_id)
            if not state:
                outcomes.append('unknown')
            elif task_id in brought:
                outcomes.append('not_dead')
            elif (resent or state['status'] == DEAD) and self._marked(state, mark):
                brought.add(task_id)
                outcomes.append('ok')
            elif state['status'] != DEAD:
                outcomes.append('not_dead')
            else:
                brought.add(task_id)
                self._raise(task_id)
                state['status'] = PENDING
                state['forgiven'] = state.get('dequeue_count', '0')
                state['ready_time'] = str(self.now)
                self._mark(state, mark)
                self._place(task_id, ready)
                outcomes.append('ok')
        self._append(ready)
        self._settle()
        return outcomes

    def _sweep(self, items: list[Sweep], resent: bool) -> tuple[int, int, int, bool, list[str], int]:
        most = items[0].most
        leases = [task_id for task_id in self.in_order(self.working) if self.working[task_id] <= self.now][:most]
        delays = [task_id for task_id in self.in_order(self.delayed) if self.delayed[task_id] <= self.now][:most]
        tokens = [group for group in self.in_order(self.rated) if self.rated[group] <= self.now][:most]
        if self.is_late():
            tokens = self.in_order(self.rated)[:most]
            self.rated = dict.fromkeys(self.rated, 0)
        died = 0
        ready: list[str] = []
        for task_id in leases:
            state = self.states[task_id]
            if state['status'] == CANCELLED:
                self._clear(task_id)
                continue
            del self.working[task_id]
            self._remember(state, 'its lease ran out')
            if self._used_up(state):
                self._meet(task_id)
                self._lay(task_id, 'its lease ran out, its attempts are used up')
                died += 1
            else:
                self._return(state)
                self._place(task_id, ready)
        for task_id in delays:
            del self.delayed[task_id]
            self._return(self.states[task_id])
            self._place(task_id, ready)
        fired, more, low = self.fire_due(ready)
        for group in tokens:
            del self.rated[group]
            self.met.append(group)
        self._append(ready)
        self._settle()
        self._forget()
        self.bell |= fired > 0
        more |= most in (len(leases), len(delays), len(tokens))
        return len(leases) - died, len(delays), died, more, low, fired

    def _limit(self, items: list[Limit], resent: bool) -> None:
        ((group, value),) = items
        if value:
            self.limits[group] = value
        else:
            self.limits.pop(group, None)
        if group:
            self._advance([group], resent)

    def _advance(self, items: list[str], resent: bool) -> None:
        for group in items:
            self.rated.pop(group, None)
            self.met.append(group)
            rate = self.rate(group)
            if rate and self.tokens(group) < rate[0]:
                # It lives as long as the new rate needs.
                self.take_tokens(group, 0)
        self._settle()

    def _pause(self, items: list[str], resent: bool) -> None:
        self.paused |= {*items}

    def _resume(self, items: list[Resume], resent: bool) -> list[str]:
        ((group, probing),) = items
        if probing and group in self.paused:
            # No pause of the model has probes.
            return ['paused']
        self.paused.discard(group)
        if group:
            self.met.append(group)
        elif self.payloads:
            self.bell = True
        self._settle()
        return ['ok']

"""Steps of the machine that no public call is: consumers at the bell, lost replies, time, crashes."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, strategies as st
from hypothesis.stateful import precondition, rule

from model.machine import Consumer, Machine, answer
from model.machine_door import SWEEP_TASKS, Sent
from model.machine_draws import GROUPS
from model.model_calls import BLOCK, Call, Release
from model.model_checks import Seen


def may_be_lost(item: Any, now: int) -> bool:
    """Whether the lease of a task that is released may have ended, so that nobody can tell who released it."""
    if not isinstance(item, Release) or item.held is None:
        return False
    return bool(now >= float(item.token.partition('-')[2]) + item.held)


def check_once(call: Call, before: Seen, after: Seen, first: Any, again: Any, late: bool, now: int) -> None:
    """Sent again before anything else happened, a call changes nothing but the bell, and answers as it did."""
    if call.name == 'touch':
        # The deadline is the same where the clock stood still; a lease may have been moved twice in the call.
        assert after._replace(bell=[], working={}, lives={}) == before._replace(bell=[], working={}, lives={})
    else:
        if late and call.name == 'enqueue' and after.seq and before.seq and (after.seq - before.seq) % 2 == 0:
            # Numbers were drawn once more, and not used; it is the same side's turn.
            after = after._replace(seq=before.seq)
        assert after._replace(bell=[], lives={}) == before._replace(bell=[], lives={})
    if late:
        return  # Nobody reads its answer.
    if call.name == 'claim':
        assert again.tasks == first.tasks
    elif call.name in ('release', 'unschedule', 'hold'):
        for item, one, other in zip(call.items, first, again, strict=True):
            # What is gone, or is so already, was made so by the first sending, as far as one can tell.
            assert answer(other) or not answer(one) or may_be_lost(item, now)
    elif call.name != 'leave':
        assert again == first


class Faults(Machine):
    """Whatever may happen to a queue beside calls."""

    # Consumers that wait at the bell, each on a line of its own

    def send(self, consumer: Consumer, name: str, args: list[str | bytes]) -> Any:
        transition = self.transitions[name]
        sent = Sent(transition, args, self.raw.execute_command(*transition.words(args, False)))
        outcome = self.compare(sent, resent=False)
        self.remember_call(consumer.name.rpartition(':')[2], sent, outcome)
        return outcome

    def claim(self, consumer: Consumer, wanted: int) -> None:
        """Claim, and wait at the bell where there is nothing, as the shelf does."""
        got = 0
        while True:
            consumer.number += 1
            record = f'{consumer.name}:{consumer.number}'
            left = str(wanted - got)
            args: list[str | bytes] = [consumer.unacknowledged, record, left, left, str(BLOCK), '1000']
            given = self.send(consumer, 'claim', args)
            consumer.unacknowledged = record if given.tasks else ''
            due = given.wait is not None and given.wait <= 0
            if due:
                self.send(consumer, 'sweep', [str(SWEEP_TASKS)])
            got += len(given.tasks)
            if got == wanted:
                consumer.wakes = None
                return
            if not due and not given.more:
                # Whoever got less than wanted, and stays, is one who asks for several others too.
                consumer.wakes = self.model.now + min(BLOCK, BLOCK if given.wait is None else given.wait)
                return

    @rule(which=st.integers(0, 1), wanted=st.integers(1, 3))
    def wait(self, which: int, wanted: int) -> None:
        self.claim(self.consumers[which], wanted)

    @precondition(lambda self: self.model.bell and any(consumer.wakes is not None for consumer in self.consumers))
    @rule(dies=st.booleans())
    def hear(self, dies: bool) -> None:
        """The bell wakes one who waits; it claims again, or dies with the ring."""
        consumer = min((c for c in self.consumers if c.wakes is not None), key=lambda c: c.number)
        assert self.raw.lpop(self.keys['bell']) == b'1'
        self.model.bell = False
        self.last_line = ''
        self.rung_awake = True
        consumer.wakes = None
        if not dies:
            self.claim(consumer, 1)

    @precondition(lambda self: any(consumer.number for consumer in self.consumers))
    @rule(which=st.integers(0, 1))
    def leave(self, which: int) -> None:
        """A consumer leaves the bell and says so."""
        consumer = self.consumers[which]
        acknowledged, consumer.unacknowledged = consumer.unacknowledged, ''
        consumer.wakes = None
        self.send(consumer, 'leave', [acknowledged, str(BLOCK)])
        self.rung_awake = False

    # Faults and time

    @rule(
        line=st.sampled_from([*['last'] * 4, 'client0', 'client1', 'consumer0', 'consumer1']),
        count=st.integers(1, 3),
        late=st.booleans(),
    )
    def send_twice(self, line: str, count: int, late: bool) -> None:
        """Replies were lost with a connection: what was on its way is sent again, in its order.

        Or ``late``: a call arrives after its own repetition, from the connection that was given up.
        """
        at_once = line == 'last'
        again = self.history.get(self.last_line if at_once else line, [])[-1 if at_once else -count :]
        assume(again)
        # An id without a mark that comes behind its cancel takes no hole, so it would be twice in the list.
        tasks = [item for sent in again if sent.transition.name == 'enqueue' for item in sent.read().items]
        assume(not (late and any(item.mark is None and item.task_id in self.model.holes for item in tasks)))
        before = self.look()
        for sent in again:
            reply = self.raw.execute_command(*sent.transition.words(sent.args, not late))
            outcome = self.compare(sent._replace(reply=reply), resent=not late)
            # Whoever claims may have gone meanwhile.
            self.rung_awake |= sent.transition.name == 'claim'
            self.claimed_twice |= sent.transition.name == 'claim'
        if not at_once and any(sent.transition.name == 'limit' and not sent.args[0] for sent in again):
            # Who set the default goes on to the groups.
            self.send(self.consumers[0], 'advance', [*GROUPS])
        if at_once and sent.transition.name not in ('sweep', 'tell'):
            check_once(sent.read(), before, self.look(), self.last_outcome, outcome, late, self.model.now)
        self.last_line = ''

    @rule(ahead=st.sampled_from([1, 1, 1, 2, 3, 499, 1999, 2000, 2001, 10_000, 60_000, 300_000, 3_600_000]))
    def pass_time(self, ahead: int) -> None:
        self.move_clock(self.model.now + ahead)

    @precondition(lambda self: (self.model.deadline() or 0) > self.model.now)
    @rule(less=st.integers(0, 1))
    def pass_time_to_the_deadline(self, less: int) -> None:
        deadline = self.model.deadline()
        assert deadline is not None
        self.move_clock(deadline - less)

    @precondition(lambda self: len(self.deliveries) > 2)
    @rule(keep=st.integers(1, 4))
    def crash(self, keep: int) -> None:
        """Consumers die; what they held comes back when its lease ends."""
        del self.deliveries[:-keep]
        for consumer in self.consumers:
            consumer.wakes = None

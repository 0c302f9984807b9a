"""Consumers of a model of the queue: what each of their steps does to them, to the server and to the connection."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from proof.spec.checks import (
    ANSWERED,
    CLAIM,
    FENCING,
    HISTORY,
    HOLDING,
    IDLE,
    KEPT_TIME,
    NAMES,
    NONE,
    RANG,
    RESENT,
    SENT,
    SETTLING,
    TWICE,
    VERBS,
    WAITING,
    Before,
    Budget,
    Config,
    Consumer,
    forget_record,
    is_over,
    judge_hand_out,
    lives,
    noted,
)
from proof.spec.explorer import CHOICE, FAULT, OWN, TIME, State, Step
from proof.spec.keys import (
    CANCELLED,
    DELAY,
    GIVE,
    IS_DEAD,
    OK,
    RELEASE,
    REQUEUE,
    UNKNOWN,
    Frozen,
)
from proof.spec.server import Reply, Server

FRESH = Consumer()
_Run = Callable[[Server, Consumer], tuple[Consumer, str]]
# Where it is in a frozen server.
_BELL = 13


class Consumers:
    """Steps of consumers, and of what dead ones have left behind."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.removed = config.removed
        self.server = self._new_server()
        self.tasks = range(len(config.groups))
        self.verbs = [VERBS[name] for name in config.verbs]

    def _new_server(self) -> Server:
        it = self.config
        return Server(it.groups, it.limits, it.removed, it.long, it.history, it.urgencies, it.rates)

    def _server(self, state: State) -> Server:
        self.server.thaw(state[0])
        return self.server

    def _is_full(self, state: State) -> bool:
        """Whether the memory of the server is."""
        return bool(state[4][-1] < self.config.budget.memory)

    def _spend(self, state: State, name: str) -> tuple[int, ...]:
        k = Budget._fields.index(name)
        budget: tuple[int, ...] = state[4]
        return (*budget[:k], budget[k] - 1, *budget[k + 1 :])

    # Consumers

    def _with(self, state: State, k: int, consumer: Consumer, server: Frozen | None = None) -> State:
        consumers = sorted((*state[2][:k], tuple(consumer), *state[2][k + 1 :]))
        return (state[0] if server is None else server, state[1], tuple(consumers), *state[3:])

    def _consume(self, state: State, k: int, consumer: Consumer) -> Iterator[Step]:
        budget = Budget(*state[4])
        lost = (*state[:4], self._spend(state, 'losses')) if budget.losses else None
        if consumer.phase == IDLE and not consumer.verb:
            yield self._own(state, k, self._ask(consumer), 'asks for a task', TIME)
            if consumer.still >= 0 and not consumer.claim:
                yield self._own(state, k, self._join(consumer), 'comes to wait without a claim', TIME)
        if consumer.phase == WAITING and budget.quits:
            spent = (*state[:4], self._spend(state, 'quits'))
            after = consumer._replace(phase=IDLE, timer=0, leaving=consumer.leaving | KEPT_TIME * bool(consumer.timer))
            yield self._own(spent, k, after, 'gives up waiting', CHOICE)
        yield from self._claim(state, k, consumer, lost)
        yield from self._work(state, k, consumer, budget)
        yield from self._settle(state, k, consumer, lost)
        for number, late in enumerate(consumer.late):
            rest = consumer._replace(late=consumer.late[:number] + consumer.late[number + 1 :])
            yield self._scripted(state, k, rest, functools.partial(self._run_late, late), TIME,
                                 f'a late {NAMES.get(late[0], "claim")}{late[1:]} is run')  # fmt: skip
        if consumer.unacknowledged >= 0:
            after = forget_record(consumer, consumer.unacknowledged)._replace(unacknowledged=-1)
            yield self._own(state, k, after, 'acknowledges its claim', OWN)
        if self.config.bell:
            yield from self._listen(state, k, consumer)

    def _own(self, state: State, k: int, consumer: Consumer, label: str, kind: int) -> Step:
        return f'{k} {label}', kind, self._with(state, k, consumer), ''

    def _scripted(self, state: State, k: int, consumer: Consumer, run: _Run, kind: int, label: str) -> Step:
        server = self._server(state)
        consumer, broken = run(server, consumer)
        return f'{k} {label}', kind, self._with(state, k, consumer, server.freeze()), broken

    def _ask(self, consumer: Consumer) -> Consumer:
        """Come to wait, and claim; where others come without one, a ring that was not handed on yet is of use."""
        kept = consumer.leaving if consumer.claim or not self.config.still else 0
        return self._pump(consumer._replace(phase=WAITING, leaving=kept))

    def _join(self, consumer: Consumer) -> Consumer:
        """Come to wait, and only listen: as one who has waited since the last claim, and kept the time."""
        timer = consumer.still if self.removed != 'join-time' else 0
        listening = consumer.listening if self.removed == 'join-listens' else 1
        return consumer._replace(phase=WAITING, listening=listening, timer=timer, leaving=0)

    def _pump(self, consumer: Consumer) -> Consumer:
        """Claim, where somebody waits and it is not done already."""
        if consumer.claim or consumer.phase != WAITING:
            return consumer
        used = {record[0] for record in consumer.records} | {call[-1] for call in consumer.late}
        used |= {call[1] for call in consumer.late if call[0] == CLAIM} | {consumer.unacknowledged, consumer.ack}
        key = 0
        while key in used and self.removed != 'record-own-key':
            key += 1
        return consumer._replace(
            claim=SENT, key=key, claim_ack=consumer.unacknowledged, unacknowledged=-1, got=(), rang=0, still=-1
        )

    # Claims

    def _claim(self, state: State, k: int, consumer: Consumer, lost: State | None) -> Iterator[Step]:
        if consumer.claim in (SENT, RESENT):
            label = f'claim{" again" * (consumer.claim == RESENT)} is run'
            yield self._scripted(state, k, consumer, self._run_claim, OWN, label)
            if lost:
                late = tuple(sorted((*consumer.late, (CLAIM, consumer.key, consumer.claim_ack))))
                after = consumer._replace(claim=RESENT, late=late)
                yield self._own(lost, k, after, 'claim is given up on the way and sent again', FAULT)
        elif consumer.claim == ANSWERED:
            yield self._learn(state, k, consumer)
            if lost:
                after = consumer._replace(claim=RESENT, reply=())
                yield self._own(lost, k, after, 'claim loses its reply and is sent again', FAULT)

    def _learn(self, state: State, k: int, consumer: Consumer) -> Step:
        return self._own(state, k, self._claimed(consumer), f'learns what it claimed: {consumer.reply[0]}', OWN)

    def _run_claim(self, server: Server, consumer: Consumer) -> tuple[Consumer, str]:
        ack = consumer.claim_ack
        if self.removed == 'record-acknowledged' and consumer.claim == RESENT:
            ack = consumer.key
        consumer = forget_record(consumer, ack)
        live = tuple(one for one in consumer.got if lives(server, one))
        reply, consumer, broken = self._take(server, consumer, consumer.key, consumer.claim == RESENT)
        if not broken and live and sorted(reply.given) != sorted(live):
            broken = TWICE
        if reply.given:
            consumer = consumer._replace(got=reply.given)
        words = (reply.given, int(reply.more), int(reply.due), reply.wait)
        return consumer._replace(claim=ANSWERED, reply=words), broken

    def _take(
        self, server: Server, consumer: Consumer, key: int, resent: bool
    ) -> tuple[Reply, Consumer, str]:  # fmt: skip
        record = tuple((task, token) for other, task, token in consumer.records if other == key) or None
        was = Before.of(server)
        reply, broken = server.claim(record, resent, True, self.config.bulk), ''
        if reply.given and not reply.again:
            for task, _ in reply.given:
                broken = broken or judge_hand_out(self.config, server, task, was)
                was.hand(server, task)
                server.out |= 1 << task
            if self.config.budget.losses:
                kept = reply.given[:1] if self.removed == 'record-whole' else reply.given
                records = [other for other in consumer.records if other[0] != key]
                records += [(key, *delivery) for delivery in kept]
                consumer = consumer._replace(records=tuple(sorted(records)))
        return reply, consumer, broken

    def _claimed(self, consumer: Consumer) -> Consumer:
        """The reply has come; as `Shelf._claimed`."""
        words: Any = consumer.reply
        given, more, due, wait = words
        waited = consumer.phase == WAITING
        consumer = consumer._replace(claim=NONE, reply=(), got=())
        if given:
            consumer = consumer._replace(unacknowledged=consumer.key if self.config.budget.losses else -1)
            if waited:
                # Whoever is served is not there any more to keep the time.
                consumer = consumer._replace(phase=HOLDING, held=given[0], others=given[1:], timer=0)
            elif self.removed != 'give-back':
                consumer = consumer._replace(
                    phase=SETTLING, held=given[0], others=given[1:], verb=GIVE, ack=consumer.unacknowledged,
                    unacknowledged=-1,
                )  # fmt: skip
        if not self.config.bell:
            return consumer if given else consumer._replace(phase=IDLE)
        stays = consumer.phase == WAITING
        if due and self.removed != 'sweep-due':
            consumer = consumer._replace(sweeping=1)
        if self.config.still and not more and not due and not consumer.rang:
            consumer = consumer._replace(still=wait)
        if (consumer.rang or wait) and not stays and self.removed != 'ring-leave':
            why = RANG * bool(consumer.rang) | KEPT_TIME * bool(wait)
            consumer = consumer._replace(leaving=consumer.leaving | why)
        if more or consumer.rang and stays and self.removed != 'rang-meanwhile':
            return self._pump(consumer)
        return consumer if due or not stays else self._wait(consumer, wait)

    def _run_late(self, late: tuple[int, ...], server: Server, consumer: Consumer) -> tuple[Consumer, str]:
        consumer = forget_record(consumer, late[-1])
        if late[0] != CLAIM:
            return consumer, self._run_settle(server, late[0], late[1], late[2], False, 0)[1]
        key = late[1]
        open_call = consumer.claim and consumer.key == key or consumer.unacknowledged == key
        held: Any = (consumer.held, *consumer.others) if consumer.held else ()
        live = tuple(one for one in consumer.got or held if lives(server, one)) if open_call else ()
        reply, consumer, broken = self._take(server, consumer, key, False)
        if not broken and live and sorted(reply.given) != sorted(live):
            broken = TWICE
        if reply.given and consumer.claim and consumer.key == key:
            consumer = consumer._replace(got=reply.given)
        return consumer, broken

    # Work

    def _work(self, state: State, k: int, consumer: Consumer, budget: Budget) -> Iterator[Step]:
        if consumer.phase != HOLDING:
            return
        for verb in self.verbs:
            returns = verb in (REQUEUE, DELAY)
            if returns and not budget.returns:
                continue
            after = consumer._replace(phase=SETTLING, verb=verb, ack=consumer.unacknowledged, unacknowledged=-1)
            after = after._replace(unsure=int(verb == RELEASE and is_over(state, consumer.held)))
            spent = (*state[:4], self._spend(state, 'returns')) if returns else state
            # What need not be, or not for ever, is a choice.
            kind = CHOICE if returns else TIME
            if budget.losses or budget.kills:
                yield self._own(spent, k, after, f'sends {NAMES[verb]} {consumer.held}', kind)
            else:
                # It is the same whether it was sent now or has been on its way for long.
                yield self._scripted(spent, k, after, functools.partial(self._settled, state, False), kind,
                                     f'{NAMES[verb]} {consumer.held} is answered')  # fmt: skip
        if budget.touches:
            spent = (*state[:4], self._spend(state, 'touches'))
            yield self._scripted(spent, k, consumer, self._run_touch, CHOICE, f'touches {consumer.held}')

    def _run_touch(self, server: Server, consumer: Consumer) -> tuple[Consumer, str]:
        task, token = consumer.held
        before, current = server.freeze(), lives(server, consumer.held)
        outcome = server.touch(task, token)
        if current:
            server.out |= 1 << task
        return consumer, FENCING if not current and (outcome == OK or server.freeze() != before) else ''

    def _settle(self, state: State, k: int, consumer: Consumer, lost: State | None) -> Iterator[Step]:
        if not consumer.verb:
            return
        label = f'{NAMES[consumer.verb]}{" again" * consumer.repeated} {consumer.held}'
        yield self._scripted(state, k, consumer, functools.partial(self._settled, state, False), OWN,
                             f'{label} is answered')  # fmt: skip
        if lost:
            yield self._scripted(lost, k, consumer, functools.partial(self._settled, state, True), FAULT,
                                 f'{label} loses its reply')  # fmt: skip
            late = tuple(sorted((*consumer.late, (consumer.verb, *consumer.held, consumer.ack))))
            after = consumer._replace(repeated=1, late=late)
            yield self._own(lost, k, after, f'{label} is given up on the way and sent again', FAULT)

    def _settled(self, state: State, lost: bool, server: Server, consumer: Consumer) -> tuple[Consumer, str]:
        consumer = forget_record(consumer, consumer.ack)
        task, token = consumer.held
        outcome, broken = OK, ''
        full = self._is_full(state)
        if not (full and self.removed == 'removed-first' and consumer.verb != RELEASE):
            was = server.states[task] if token > server.bases[task] else UNKNOWN
            before = state[0]
            resent = bool(consumer.repeated)
            outcome, broken = self._run_settle(server, consumer.verb, task, token, resent, consumer.unsure)
            if consumer.did and not broken:
                # Where the task was finished meanwhile, a release under a lease counts as done, the others as refused.
                same = (outcome <= IS_DEAD) == (consumer.did <= IS_DEAD)
                counts = consumer.verb == RELEASE and not consumer.unsure
                same = same or was == UNKNOWN and (outcome <= IS_DEAD) == counts
                same = same or token <= server.bases[task]
                broken = '' if same and (server.freeze()[:13] == before[:13]) else TWICE
        if lost:
            return consumer._replace(repeated=1, did=consumer.did or outcome), broken
        after = consumer._replace(phase=IDLE, held=(), verb=0, repeated=0, unsure=0, ack=-1, did=0)
        if consumer.others and not (consumer.verb == GIVE and self.removed == 'give-back-all'):
            giving = consumer.verb == GIVE
            after = after._replace(
                phase=SETTLING if giving else HOLDING, verb=GIVE * giving, held=consumer.others[0],
                others=consumer.others[1:],
            )  # fmt: skip
        return after._replace(others=() if not after.held else after.others), broken

    def _run_settle(
        self, server: Server, verb: int, task: int, token: int, resent: bool, unsure: int
    ) -> tuple[int, str]:
        current = lives(server, (task, token))
        cancelled = server.states[task] == CANCELLED and server.tokens[task] == token and server.working >> task & 1
        before = None if current or cancelled else server.freeze()
        if verb == RELEASE:
            outcome = server.release(task, token, resent, unsure)
        else:
            outcome = server.give_back(task, token, 1 << token, verb)
        if current:
            server.out &= ~(1 << task)
            if verb == RELEASE:
                server.final |= 1 << task
            elif verb != GIVE and not noted(server, task, token):
                return outcome, HISTORY
        elif before is not None and server.freeze() != before:
            return outcome, FENCING
        told = outcome not in (OK,) or resent and not unsure or bool(server.marks[task] & 1 << token)
        return outcome, '' if current or told else FENCING

    # The bell

    def _listen(self, state: State, k: int, consumer: Consumer) -> Iterator[Step]:
        if consumer.listening and state[0][_BELL]:
            server = self._server(state)
            server.bell = 0
            frozen = server.freeze()
            yield f'{k} hears the bell', OWN, self._with(state, k, self._rung(consumer, True), frozen), ''
        if consumer.listening and self.config.block and self.removed != 'block':
            yield self._own(state, k, self._rung(consumer, False), 'has waited for a block', TIME)
        if consumer.timer:
            server = self._server(state)
            running, due = server.clock()
            due = consumer.timer & (due | server.probed())
            if consumer.timer & ~running:
                after = consumer._replace(timer=0, sweeping=1)
                yield self._own(state, k, after, 'has its time come', OWN if due else TIME)
        if consumer.sweeping:
            yield self._scripted(state, k, consumer, self._run_sweep, OWN, 'sweeps')
        if consumer.leaving:
            yield self._scripted(state, k, consumer._replace(leaving=0), _run_leave, OWN, 'leaves the bell')

    def _rung(self, consumer: Consumer, rung: bool) -> Consumer:
        if self.removed != 'rang-meanwhile':
            consumer = consumer._replace(rang=int(consumer.rang or bool(consumer.claim)))
        consumer = consumer._replace(listening=0)
        if consumer.phase == WAITING:
            return self._pump(consumer)
        if self.removed != 'join-rung':
            consumer = consumer._replace(still=-1)
        return consumer._replace(leaving=consumer.leaving | RANG) if rung and self.removed != 'ring-leave' else consumer

    def _wait(self, consumer: Consumer, wait: int) -> Consumer:
        return consumer._replace(listening=1, timer=wait if self.removed != 'timer' else 0)

    def _run_sweep(self, server: Server, consumer: Consumer) -> tuple[Consumer, str]:
        server.sweep()
        return self._pump(consumer._replace(sweeping=0)), ''


def _run_leave(server: Server, consumer: Consumer) -> tuple[Consumer, str]:
    server.leave()
    return consumer, ''

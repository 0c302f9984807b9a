"""What a model of the queue consists of beside the server, and what must hold in each of its states."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from proof.spec.explorer import State
from proof.spec.keys import (
    BURY,
    CANCELLED,
    DEAD,
    DELAY,
    DELAYED,
    GIVE,
    PENDING,
    RELEASE,
    REQUEUE,
    UNKNOWN,
    WORKING,
    bits,
)
from proof.spec.server import Server

ONE_PLACE = '1 one place'
PAYLOAD = '2 payload where a place, nothing left when empty'
FENCING = '3 fencing'
OVERLAP = '4 no two hand-outs at once'
KEPT = '5 what is acknowledged and not final is there'
TWICE = '6 sent twice is done once'
HISTORY = '6 a failed attempt is noted once'
STRANDED = '7 what was taken for nobody is given back'
GROUPS = '9 groups: order, limits, slots, none forgotten'
RATES = '9 rates: none begins without a token'
PAUSES = '9 pauses: what is paused hands nothing out but probes'
URGENCY = '9 priorities: the most urgent first'
FINAL = '11 what is final stays final'
REACH = '10 all can be finished'
WAKE = '10 no lost wake-up'

VERBS = {'release': RELEASE, 'requeue': REQUEUE, 'delay': DELAY, 'bury': BURY}
NAMES = {**{number: name for name, number in VERBS.items()}, GIVE: 'give back'}

IDLE, WAITING, HOLDING, SETTLING = range(4)
NONE, SENT, RESENT, ANSWERED = range(4)
"""A call on its way."""
# Where they are in a frozen server.
_STATES, _TOKENS, _ENDED = 0, 1, 8
CLAIM = 0
"""Beside the verbs, a kind of late call."""
RANG, KEPT_TIME = 1, 2
"""Why somebody is to hear of it that a consumer has no use for the bell: it has taken a ring, or it kept the time."""


class Budget(NamedTuple):
    """How often each may still happen."""

    losses: int = 0
    kills: int = 0
    ends: int = 0
    """Leases that end while their consumer lives; those of the others end in any case."""
    cancels: int = 0
    quits: int = 0
    """Waiting that is given up."""
    returns: int = 0
    """Tasks that are requeued."""
    limits: int = 0
    anew: int = 0
    """Ids that are enqueued again after they were cancelled."""
    touches: int = 0
    pauses: int = 0
    memory: int = 0
    """1 is that the memory of the server may become full."""


NOTHING = Budget()


@dataclasses.dataclass(frozen=True)
class Config:
    """What there is, and what may happen."""

    consumers: int = 2
    groups: tuple[int, ...] = (-1, -1)
    """Of each task; -1 is none."""
    limits: tuple[int, ...] = ()
    new_limit: int = 1
    verbs: tuple[str, ...] = ('release', 'requeue')
    budget: Budget = NOTHING
    delayed: int = 0
    """Tasks that are enqueued with a delay."""
    own: bool = False
    """Whether ids are the callers'."""
    long: bool = False
    """Whether lists are long, so that a cancel leaves holes."""
    bell: bool = False
    """Whether consumers wait at the bell; else they claim, and anybody sweeps, at any time."""
    history: bool = False
    """Whether failed attempts are noted; a requeue and a delay are with an error then."""
    block: bool = False
    """Whether waiting at the bell ends by itself."""
    urgencies: tuple[int, ...] = ()
    """Priorities of the tasks; () is none."""
    rates: int = 0
    """Bits of the groups that have a rate: a bucket of one token."""
    pausing: tuple[tuple[int, bool], ...] = ()
    """What may be paused: a group, or -1, which is the queue; and whether with probes."""
    bulk: int = 1
    """How many tasks a claim takes at the most."""
    still: bool = False
    """Whether somebody may come to wait without a claim, where the last one has left nothing."""
    removed: str = ''
    """The rule that is left out."""


class Consumer(NamedTuple):
    """A process that takes tasks, what it has on its way, and the server's records of its claims."""

    phase: int = IDLE
    held: tuple[int, ...] = ()
    """Task and token."""
    claim: int = NONE
    key: int = 0
    """Of the record of the claim."""
    claim_ack: int = -1
    """Key of a record that the claim deletes."""
    reply: tuple[object, ...] = ()
    got: tuple[tuple[int, int], ...] = ()
    """What the claim has taken, answered or not: no transition looks at it."""
    others: tuple[tuple[int, int], ...] = ()
    """What it holds besides."""
    unacknowledged: int = -1
    verb: int = 0
    repeated: int = 0
    unsure: int = 0
    """Whether its lease was over when the call was made."""
    ack: int = -1
    did: int = 0
    """What a settle call has answered already, to nobody."""
    records: tuple[tuple[int, int, int], ...] = ()
    """Key, task, token."""
    late: tuple[tuple[int, ...], ...] = ()
    """Calls that were given up and may yet be run."""
    listening: int = 0
    rang: int = 0
    timer: int = 0
    """The tasks whose deadlines it knows."""
    sweeping: int = 0
    leaving: int = 0
    """Whether it is to leave the bell: `RANG`, `KEPT_TIME`, or both."""
    still: int = -1
    """The tasks whose deadlines the last claim told, where it left nothing and no ring was taken since; else -1."""


class Producer(NamedTuple):
    """The enqueue call of a task."""

    call: int = NONE
    generation: int = 0
    ran: int = 0
    late: tuple[int, ...] = ()
    """Generations."""


def broken(config: Config, server: Server, producers: tuple[tuple[int, ...], ...]) -> str:
    """The invariant of places, payloads or groups that a state breaks, or ''."""
    known = server.payloads
    for task in range(len(config.groups)):
        bit, place = 1 << task, _places(config, server, task)
        alive = server.states[task] not in (UNKNOWN, CANCELLED) or server.working & bit
        if place != 1 if alive else place:
            return ONE_PLACE
        if bool(known & bit) != bool(alive):
            return PAYLOAD
        if server.failed[task] & 1:
            return HISTORY
        if server.final & bit and server.states[task] not in (UNKNOWN, CANCELLED):
            return FINAL
        call, _, ran, _ = producers[task]
        if call == ANSWERED and ran and not server.final & bit and not alive:
            return KEPT
    rest = server.pending or server.turns or server.bell or server.ranked or server.rated
    if not known and (rest or any(slot >= 0 for slot in server.slots)):
        return PAYLOAD
    return '' if all(_sound(config, server, group) for group in range(len(server.limits))) else GROUPS


def _places(config: Config, server: Server, task: int) -> int:
    """In how many places it is, those that its state does not name counted twice."""
    bit, state, group = 1 << task, server.states[task], config.groups[task]
    count = 0
    named = {WORKING: server.working, DELAYED: server.delayed, DEAD: server.dead, CANCELLED: server.working}
    for members in (server.working, server.delayed, server.dead):
        if members & bit:
            count += 1 if named.get(state) == members else 2
    if group >= 0:
        head = server.heads[group] == task
        count += (1 if state == PENDING else 2) * (head + (server.waiting[group] >> task & 1))
        turns = server.turns.count(task)
        count += 0 if turns == head or config.long and turns >= head else 2
    elif config.urgencies and config.urgencies[task]:
        count += (1 if state == PENDING else 2) * (server.ranked >> task & 1) + 2 * server.pending.count(task)
    elif server.pending.count(task) > 1:
        count += 2
    elif not server.holes & bit:
        count += server.pending.count(task) * (1 if state == PENDING else 2)
    return count


def _sound(config: Config, server: Server, group: int) -> bool:
    members = [task for task in range(len(config.groups)) if config.groups[task] == group]
    handed = [task for task in members if server.tokens[task] > server.bases[task]]
    holding = {task for task in members if server.working >> task & 1 or server.heads[group] == task}
    holding |= {task for task in handed if server.delayed >> task & 1}
    later = sum(server.delayed >> task & 1 for task in members) - sum(server.delayed >> task & 1 for task in handed)
    slots, waiting = server.slots[group], server.waiting[group]
    if set(bits(server.holders)) & set(members) != holding or max(0, slots) != len(holding):
        return False
    if server.later[group] != later or (slots >= 0) != bool(holding or waiting or later):
        return False
    # Nobody brings up what waits for an operator.
    place = 1 << group
    halted = (server.paused & ~server.probes | server.rated) & place
    return bool(halted or not (waiting and server.heads[group] < 0 and slots < server.limits[group]))


def stuck(config: Config, server: Server, consumers: list[Consumer]) -> str:
    """Who waits for what, where nothing happens by itself."""
    safe = not config.budget.losses and not config.budget.kills
    if not config.bell and not safe:
        return ''
    waiting = bool(server.turns or server.ranked) or any(server.states[task] == PENDING for task in server.pending)
    stopped = server.paused & ~(server.probes & server.opened) & server.queue
    ready = waiting and not stopped or server.ended & server.working or server.due & server.delayed
    # A token, or a probe, that comes is somebody's to know of.
    ready = ready or server.thirsty()
    patient = config.block and config.removed != 'block'
    if config.bell and not patient and ready and any(one.phase == WAITING for one in consumers):
        return WAKE
    for task in bits(server.working & ~server.ended) if safe else ():
        delivery = task, server.tokens[task]
        if not any(delivery == one.held or delivery in one.others for one in consumers):
            return STRANDED
    return ''


def noted(server: Server, task: int, token: int) -> bool:
    """Whether an attempt that has failed is noted, where that is done."""
    return not server.history or bool(server.failed[task] >> token & 1)


def forget_record(consumer: Consumer, key: int) -> Consumer:
    """A consumer without the record of a claim; a key below 0 is none."""
    if key < 0:
        return consumer
    return consumer._replace(records=tuple(record for record in consumer.records if record[0] != key))


def is_over(state: State, delivery: tuple[int, ...]) -> bool:
    """Whether the lease of a delivery has ended."""
    task, token = delivery
    states, tokens, ended = (state[0][place] for place in (_STATES, _TOKENS, _ENDED))
    return states[task] != WORKING or tokens[task] != token or bool(ended >> task & 1)


def lives(server: Server, delivery: tuple[int, ...]) -> bool:
    """Whether a delivery is the current one of its task."""
    task, token = delivery
    return server.states[task] == WORKING and server.tokens[task] == token


@dataclasses.dataclass
class Before:
    """What was so before a hand-out."""

    states: list[int]
    pending: list[int]
    ranked: int
    dry: int
    shut: int
    """What was paused and let no probe through."""

    @classmethod
    def of(cls, server: Server) -> Before:
        """What is so now."""
        shut = server.paused & ~(server.probes & server.opened)
        return cls(server.states[:], server.pending[:], server.ranked, server.dry, shut)

    def hand(self, server: Server, task: int) -> None:
        """A task was handed out, of several."""
        group = server.group_of[task]
        place = 1 << group if group >= 0 else 0
        self.states[task] = WORKING
        self.ranked &= ~(1 << task)
        self.dry |= server.rates & place
        self.shut |= server.paused & (place | server.queue)


def _judge_urgency(config: Config, server: Server, task: int, was: Before) -> str:
    urgency = config.urgencies[task] if config.urgencies and config.groups[task] < 0 else 0
    others = [other for other in bits(was.ranked) if other != task]
    earlier = any(server.orders[other] < server.orders[task] for other in others) if urgency else False
    passed = any(config.urgencies[other] > 0 for other in others) and urgency <= 0
    plain = any(was.states[other] == PENDING and not server.holes >> other & 1 for other in was.pending)
    return URGENCY if earlier or passed or urgency < 0 and plain else ''


def judge_hand_out(config: Config, server: Server, task: int, was: Before) -> str:
    """What a hand-out breaks, or ''; ``was`` is what was so before."""
    if server.out >> task & 1:
        return OVERLAP
    group, before = config.groups[task], was.states
    place = 1 << group if group >= 0 else 0
    if was.shut & (place | server.queue):
        return PAUSES
    if was.dry & place:
        return RATES
    if config.urgencies and (broken := _judge_urgency(config, server, task, was)):
        return broken
    if group >= 0:
        others = [other for other in range(len(config.groups)) if other != task and config.groups[other] == group]
        retried = [other for other in others if server.tokens[other] > server.bases[other]]
        holding = sum(server.working >> other & 1 for other in others)
        holding += sum(before[other] == DELAYED for other in retried)
        earlier = any(before[other] == PENDING and server.orders[other] < server.orders[task] for other in others)
        if earlier or holding >= server.limits[group]:
            return GROUPS
    return ''

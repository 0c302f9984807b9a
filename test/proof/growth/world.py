"""What there is when a group moves from shard A to shard B, and what must hold in each state of it."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

ONE_PLACE = '1 one place: no task is in two shards, or there again when it is done'
HOLDER = '3 whoever has the task may settle it'
OVERLAP = '4 no two tasks of the group at work at once'
KEPT = '5 what is acknowledged is there, or done'
ORDER = '9 tasks of a producer are handed out in its order'
DUPLICATE = '6 an id is taken once while a shard knows it'
LIMITS = '9 the limit that was set last is in force'
REACH = '10 all can be finished'

A, B = 0, 1
OLD, MOVING, SETTLED = 1, 2, 3
"""Generations of the map: A has the group; B takes it in, A works it off; A need not be asked any more."""
UNHELD, HELD, OPENED = range(3)
"""What B does with its groups: it has none yet; takes them in; hands them out.  It never goes back."""
NONE, FENCED, ASKED, UNSURE_A, UNSURE_B = range(5)
"""What a producer has done for its next task: nothing; has raised A's fence; has asked A; has sent it, unanswered."""


class Budget(NamedTuple):
    """How often each may still happen."""

    ends: int = 0
    """Leases that end while the task is held."""
    losses: int = 0
    """Replies that are lost, or calls that are given up and run later, or never."""
    deaths: int = 0
    """Tasks that die in A."""
    forgets: int = 0
    """Final states that a shard forgets."""


NOTHING = Budget()


@dataclasses.dataclass(frozen=True)
class Config:
    """What is to be moved, and what may happen."""

    tasks: tuple[tuple[int, ...], ...] = ((0, 1), (2, 3))
    """Ids of each producer, in its order."""
    delayed: int = 0
    """Ids, as bits, that are enqueued with a delay."""
    own: bool = False
    """Whether ids are the callers', and without a group."""
    writers: int = 0
    """Who set the limit of the group, each once."""
    budget: Budget = NOTHING
    removed: str = ''
    """The rule that is left out."""

    @property
    def ids(self) -> int:
        """All of them, as bits."""
        return sum({1 << task for tasks in self.tasks for task in tasks})


class World(NamedTuple):
    """Sets of ids are numbers, a bit for each."""

    # Clients
    cached: tuple[int, ...]
    """The generation of the map that each producer knows, then each writer."""
    sent: tuple[int, ...]
    """How many tasks of each producer are answered; of writers, whether."""
    calls: tuple[int, ...]
    late: tuple[tuple[int, int, int], ...] = ()
    """Calls that were given up and may yet be run: id, shard, generation."""
    acked: int = 0
    # Places
    pending: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    out: tuple[int, int] = (-1, -1)
    later: tuple[int, int] = (0, 0)
    """Ids whose first delay has not ended."""
    stage: int = 0
    """Ids that were taken out of A to be put into B; they are kept in A."""
    dead: int = 0
    """In A."""
    done: int = 0
    final: tuple[int, int] = (0, 0)
    """Ids that each shard knows as done."""
    # What the servers are told
    fence: int = OLD
    """A takes nothing from callers of an older generation."""
    map: int = OLD
    hold: int = UNHELD
    # What programs that move it have seen: any of them may be dead, or go on after a long time
    drained: int = 0
    """Whether one has seen that A has nothing of it."""
    carried: int = 0
    """Ids that one has read from the stage."""
    put: int = 0
    """Ids that B has answered for."""
    seen: int = -1
    """The limit that one has read from A."""
    # The limit in each shard, the one that was set last, and whether B has that of A
    limits: tuple[int, int] = (0, 0)
    last: int = 0
    copied: int = 0
    died: int = 0
    """Ids that have been dead: their order is not promised."""
    copies: int = 0
    """Ids whose copy in A is to be cancelled, where that is how they move."""
    left: tuple[int, ...] = ()
    """Of the budget."""

    def of(self, shard: int) -> int:
        """The ids that a shard knows."""
        found = self.later[shard] | self.final[shard] | (0 if shard else self.dead)
        for task in self.pending[shard]:
            found |= 1 << task
        return found | (1 << self.out[shard] if self.out[shard] >= 0 else 0)

    def has_none(self) -> bool:
        """Whether A has nothing of the group that may be handed out."""
        return not self.pending[A] and self.out[A] < 0 and not self.later[A]


def broken(config: Config, world: World) -> str:
    """The invariant that a state breaks, or ''."""
    for task in range(config.ids.bit_length()):
        bit = 1 << task
        count = sum(
            pending.count(task) + (out == task) + (later >> task & 1)
            for pending, out, later in zip(world.pending, world.out, world.later, strict=True)
        ) + (world.dead >> task & 1)
        if count > 1 and not world.copies & bit or count and world.done & bit and not config.own:
            return ONE_PLACE
        if world.acked & bit and not world.done & bit and not count and not world.stage & bit:
            return KEPT
    if min(world.out) >= 0 and not config.own:
        return OVERLAP
    return LIMITS if world.hold == OPENED and world.limits[B] != world.last else ''

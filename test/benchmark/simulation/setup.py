"""What is simulated: how many shards and processes, how tasks come, how is waited for them."""

from __future__ import annotations

import dataclasses
from typing import Literal

Order = Literal['random', 'in turn']
Listening = Literal['all', 'some', 'owners']


@dataclasses.dataclass(frozen=True)
class Setup:
    """Times are seconds."""

    shards: int
    processes: int
    loops: int = 100
    """In a process, each with one task at a time."""
    work: float = 0.0
    """What a task takes on average; times are exponentially distributed."""
    rate: float = 0.0
    """Tasks a second that come by themselves, one a call; 0 is a backlog that does not end, in each shard."""
    feed: int = 0
    """With a backlog: as many tasks go in, in calls of so many, as come out."""
    weights: tuple[float, ...] = ()
    """How much of what comes each shard has; the same without."""
    order: Order = 'random'
    """In which shards are asked."""
    enough: int = 25
    """So many must wait for a second claim beside one that is on its way."""
    patience: float = 0.1
    """After which a claim is not waited for; 0 is never."""
    listening: Listening = 'all'
    """At whose bells a process waits: of all shards; of some, where it looks at the others in rounds; of those that are
    its own, where it takes from no other."""
    bells: int = 0
    """How many are some."""
    round: float = 2.0
    """In which all others are looked at once."""
    away: tuple[int, float, float] | None = None
    """A shard, from when, and until when it does nothing."""
    warm: float = 0.1
    """After which it is counted."""
    seconds: float = 0.5
    """For which it is counted."""
    seed: int = 1

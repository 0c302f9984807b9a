"""How many tasks go before another one: computed from one look, exactly where it tells enough, else between bounds.

It is counted in tasks that are handed out one by one, and finished at once, while none comes in.  A claim of one takes
a task with a priority above 0; else, where there are both, a head of a group and a plain task by turns; else one with a
priority below 0.
"""

from dataclasses import dataclass

from .looking import LEFT, RIGHT, Seen


@dataclass(frozen=True)
class Ahead:
    """How many go first."""

    least: int
    most: int
    own: int
    """Tasks of its own group among them."""
    urgent: int
    """Tasks with a priority and without a group among them."""
    known: bool
    """Whether the place of the task was met, so that the bounds tell something."""


def pending_of(seen: Seen) -> int:
    """How many tasks of the queue are pending."""
    elsewhere = sum(map(seen.count, ('working', 'delayed', 'dead', 'waiting')))
    return max(0, seen.count('tasks') - elsewhere)


class _Counting:
    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.plain = max(0, seen.count('plain') - seen.count('holes'))
        self.urgent = seen.count('urgent')
        self.turns = seen.count('turns')
        pending = pending_of(seen)
        self.others = max(0, pending - 1)
        self.simple = bool(seen.raw['simple'])
        # Where a payload was lost, the counts are too low, and the heads are there all the same.
        self.grouped = max(pending - self.plain - seen.count('ranked'), self.turns if self.simple else 0)
        self.going = 0 if self.simple else int(seen.raw.get('going') or 0)
        self.tried = 0 if self.simple else int(seen.raw.get('tried') or 0)

    def heads(self, least: int, most: int) -> tuple[int, int]:
        """How many heads are handed out where there is room for so many."""
        if not self.turns or not self.simple and not self.going and self.tried == self.turns:
            return 0, 0
        most = min(most, self.grouped)
        return min(least, self.grouped if self.simple else self.going), most

    def between(self, least: int, most: int, own: int = 0, urgent: int = 0, known: bool = True) -> Ahead:
        return Ahead(least, max(least, min(most, self.others)), own, urgent, known)

    def of_plain(self) -> Ahead:
        seen, bit = self.seen, self.seen.count('bit')
        holes, at = seen.count('holes'), seen.raw.get('at')
        if at is None:
            length = seen.count('plain')
            least = min(length, RIGHT) - holes
            most = length - LEFT if length > RIGHT else length
        elif seen.raw.get('holes_before') is not None:
            least = most = at - seen.count('holes_before')
        else:
            least, most = at - holes, at
        least = max(0, least)
        low, high = self.heads(least + 1 - bit, most + 1 - bit)
        return self.between(
            least + low + self.urgent, most + high + self.urgent, urgent=self.urgent, known=at is not None
        )

    def of_ranked(self) -> Ahead:
        at = self.seen.count('at')
        if at < self.urgent:
            return self.between(at, at, urgent=at)
        low, high = self.heads(self.grouped, self.grouped)
        return self.between(at + self.plain + low, at + self.plain + high, urgent=at)

    def of_member(self) -> Ahead:
        seen, group = self.seen, self.seen.group
        assert group is not None
        own, at, others = group.index, seen.raw.get('at'), self.turns - 1
        if not may_go_on(seen):
            return self.between(own, self.others, own)
        if at is None:
            return self.between(own + (RIGHT if self.turns > RIGHT else 0), self.others, own, known=False)
        if not own:
            # Those heads are left out that were tried and would not go.
            low, high = (at, at) if self.simple else (min(self.going, at), at - self.tried + self.going)
        else:
            # All groups in `turns` have a turn before this one has its second, and each of its later ones.
            low = own + (others if self.simple else max(0, self.going - 1))
            high = at + own + own * others
        high = self.others if own and group.rate else max(low, min(high, self.grouped - 1))
        bit = seen.count('bit')
        return self.between(
            self.urgent + low + min(self.plain, low + bit),
            self.urgent + high + min(self.plain, high + bit),
            own,
            self.urgent,
        )


def may_go_on(seen: Seen) -> bool:
    """Whether a claim that comes to the head of the task's group hands a task of this group out."""
    group = seen.group
    return group is not None and group.head is not None and not (group.shut or group.dry or group.slots > group.limit)


def ahead_of(seen: Seen) -> Ahead:
    """How many go before the pending task that was looked at."""
    counting = _Counting(seen)
    if seen.group is not None:
        return counting.of_member()
    return counting.of_ranked() if seen.state.get('order') is not None else counting.of_plain()

"""Settling calls of which nobody knows whether they were carried out.

Whoever makes such a call again, because it raised `TorrelqueConnectionError`, is to be told what became of the first:
the second is sent as a call sent twice, with what the first was known by.
"""

from collections.abc import Iterable, Sequence

from .table import ROWS
from .transition import Arg


def _key(name: str, task_id: Arg, token: Arg) -> tuple[str, Arg, str]:
    # The part behind the question mark tells of the lease, and changes with time: it is no part of the key.
    return name, task_id, str(token).partition('?')[0]


class Unsure:
    """What is remembered of such calls, by their transition, task and token: so many at the most, the latest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.calls: dict[tuple[str, Arg, str], list[Arg]] = {}
        """The calls; to be asked, without a call of a function, whether there are any."""

    def __bool__(self) -> bool:
        return bool(self.calls)

    def note(self, name: str, args: Sequence[Arg]) -> None:
        """Remember a call of one task by its arguments, the first one of those that were repeated.

        A call that is not fenced is not remembered, because it may be about another delivery of the task.
        """
        if args[1] and ROWS[name].known_by:
            self.calls.setdefault(_key(name, args[0], args[1]), [*args])
            while len(self.calls) > self._most:
                del self.calls[next(iter(self.calls))]

    def again(self, name: str, args: Sequence[Arg]) -> list[Arg] | None:
        """The arguments of a call that is made again, as known by those of the first; None where there was no other."""
        first = self.calls.get(_key(name, args[0], args[1]))
        if first is None:
            return None
        known = ROWS[name].known_by
        return [*first[:known], *args[known:]]

    def note_all(self, name: str, calls: Iterable[Sequence[Arg]], length: int) -> None:
        """Remember calls of many tasks; each task has so many arguments."""
        for args in calls:
            for start in range(0, len(args), length):
                self.note(name, args[start : start + length])

    def all_again(self, name: str, args: Sequence[Arg], length: int) -> tuple[list[Arg], bool]:
        """The arguments of a call of many tasks, and whether some are told of again."""
        words: list[Arg] = []
        resent = False
        for start in range(0, len(args), length):
            its = args[start : start + length]
            again = self.again(name, its)
            resent = resent or again is not None
            words += its if again is None else again
        return words, resent

    def forget_all(self, name: str, calls: Iterable[Sequence[Arg]], length: int) -> None:
        """Forget calls of many tasks, because there are answers to them."""
        for args in calls:
            for start in range(0, len(args), length):
                self.forget(name, args[start : start + length])

    def forget(self, name: str, args: Sequence[Arg]) -> None:
        """Forget a call, because there is an answer to it."""
        self.calls.pop(_key(name, args[0], args[1]), None)

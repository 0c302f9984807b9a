"""Ids of new tasks and flows: chance that is drawn for many at once.

Two ids are never made of the same chance, whatever threads and forks there are.  A thread takes its piece by `pop`, and
puts what it has drawn into the pool by `extend`, each of which is one step of a list that others cannot come between.
A fork has a pool of its own: the list is not emptied there but left, together with what a thread, or a handler of a
signal, was about to put into it when the process forked.

A process that is copied otherwise, memory and all, such as a virtual machine that goes on from a snapshot more than
once, would give the same ids in each copy.  So draw none before the snapshot is taken, or `forget` the pool after it.
"""

import os

from torrelque.model import TorrelqueTaskId

MANY = 128
"""Ids of one draw: a call to the system for each costs more than all else that makes it."""
DIGITS = 32
"""Hexadecimal digits of chance of an id."""

_pool: list[str] = []


def forget() -> None:
    """Use nothing more of what was drawn: this process is another one than that which drew it."""
    global _pool
    _pool = []


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=forget)


def draw() -> list[str]:
    """Chance for many ids."""
    digits = os.urandom(MANY * DIGITS // 2).hex()
    return [digits[start : start + DIGITS] for start in range(0, MANY * DIGITS, DIGITS)]


class Ids:
    """Makes the ids of one queue object."""

    __slots__ = ('suffix',)

    def __init__(self, suffix: str = '') -> None:
        self.suffix = suffix
        """What ids end with; before it there are four digits fewer of chance."""

    def new(self) -> TorrelqueTaskId:
        """The id of a new task."""
        while True:
            try:
                digits = _pool.pop()
                break
            except IndexError:
                # The list is looked up before chance is drawn: should the process fork meanwhile, the fork's goes
                # into a list that it does not use.
                _pool.extend(draw())
        return TorrelqueTaskId(digits[:-4] + self.suffix if self.suffix else digits)

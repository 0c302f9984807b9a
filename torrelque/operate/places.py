"""Places of tasks, and walks through them by cursors that miss no task which stays where it is.

A place is one or more *stages*: a list, a sorted set, or all groups.  Each knows how far the walk has come in it, and
can be written down.

In a sorted set the cursor is a score and an id; since the order by both is total, it is found again when its task has
left.  In a list it is a position that is counted from the left: new tasks come in there and are taken at the right, so
that a walk meets some twice and misses none.  Ids are remembered, so that those are told once.
"""

import base64
import binascii
import json
import math
from collections import deque
from hashlib import blake2b
from typing import Any

from torrelque import TorrelqueQueue, TorrelqueValueError
from torrelque.protocol import check

from .asking import ask
from .reading import bytes_of, text_of

PLACES = ('pending', 'priority', 'group', 'turns', 'working', 'delayed', 'dead', 'waiting')
"""Where a task can be; a page of ``group:NAME`` is that of one group."""
TIMED = ('working', 'delayed', 'dead')
"""Places in which tasks have an instant: the end of their lease, when they are due, when they died."""
REMEMBERED = 1000
"""Ids that a walk remembers; up to this length a list counts as short."""
WRITTEN = 250
"""Ids that a written cursor remembers."""


def digest(data: bytes) -> bytes:
    """Five bytes by which an id is remembered."""
    return blake2b(data, digest_size=5).digest()


class Memory:
    """The last so many ids that were told."""

    def __init__(self) -> None:
        self.order: deque[bytes] = deque()
        self.known: set[bytes] = set()

    def add(self, mark: bytes) -> bool:
        """Remember an id by its digest: whether it is new."""
        if mark in self.known:
            return False
        self.known.add(mark)
        self.order.append(mark)
        if len(self.order) > REMEMBERED:
            self.known.discard(self.order.popleft())
        return True


class Stage:
    """A part of a place."""

    def __init__(self, queue: TorrelqueQueue, *names: str) -> None:
        self.names = names
        """What `TaskView.place` says of tasks that are in it."""
        self.over = False
        """Whether the walk has come to its end."""
        self.broken: set[str] = set()
        """Short names of keys that were met and hold something else."""
        self._queue = queue

    async def read(self, count: int, memory: Memory) -> list[bytes]:
        """The next ids, about so many."""
        raise NotImplementedError

    def save(self) -> Any:
        """How far the walk has come, as JSON has it."""
        raise NotImplementedError

    def load(self, saved: Any) -> None:
        """Go on from there.  What cannot have been saved is one of Python's own errors."""
        raise NotImplementedError

    async def _ask(self, name: str, *args: str | bytes | float) -> list[Any]:
        reply: list[Any] = await ask(self._queue, name, *args)
        self.broken |= set(map(text_of, reply[0]))
        return reply[1:]


def _members(reply: list[Any]) -> tuple[bool, list[tuple[bytes, bytes]]]:
    """Whether more is behind, and id and score of each."""
    return bool(reply[0]), list(zip(reply[1::2], reply[2::2], strict=True))


def _check_after(after: Any) -> tuple[str, str]:
    score, task_id = after
    if not isinstance(score, str) or not isinstance(task_id, str) or score and math.isnan(float(score)):
        raise ValueError(after)
    bytes_of(task_id)
    return score, task_id


class SetStage(Stage):
    """A sorted set; of a group, its head counts as one of its members."""

    def __init__(
        self, queue: TorrelqueQueue, name: str, group: str | None = None, *, newest_first: bool = False,
        lowest: str = '-inf', highest: str = '+inf',
    ) -> None:  # fmt: skip
        super().__init__(queue, *(('group', 'turns') if group is not None else (name,)))
        self._head = '1' if newest_first else '', lowest, highest
        self._key = bytes_of(name, 'a group'), bytes_of(group or '', 'a group')
        self._after: tuple[str, str] = ('', '')

    async def read(self, count: int, memory: Memory) -> list[bytes]:
        score, task_id = self._after
        [part] = await self._ask('members', count, *self._head, *self._key, score, bytes_of(task_id))
        more, found = _members(part)
        self.over = not more
        if found:
            self._after = text_of(found[-1][1]), text_of(found[-1][0])
        return [member for member, _ in found]

    async def peek(self, count: int) -> tuple[bool, list[tuple[float, bytes]]]:
        """The next members, so many at the most, by score and id, without going on; and whether more are behind."""
        score, task_id = self._after
        [part] = await self._ask('members', count, *self._head, *self._key, score, bytes_of(task_id))
        more, found = _members(part)
        return more, [(float(score), member) for member, score in found]

    def go_on(self, score: float, member: bytes) -> None:
        """Have the walk be behind a member, which may be one of another set in the same order."""
        self._after = f'{score:.17g}', text_of(member)

    def save(self) -> Any:
        return self._after

    def load(self, saved: Any) -> None:
        self._after = _check_after(saved)


class ListStage(Stage):
    """A list of ids, from the left."""

    def __init__(self, queue: TorrelqueQueue, name: str) -> None:
        super().__init__(queue, name)
        self._position = 0

    async def read(self, count: int, memory: Memory) -> list[bytes]:
        # Where not all of them are remembered, half of those that are must do: the others may be met again, because
        # new tasks have moved them to the right.
        known = len(memory.order)
        remembered = self._position if known >= self._position else known // 2
        reply = await self._ask('entries', *self.names, self._position, remembered, count, REMEMBERED)
        self._position, more, *ids = reply
        self.over = not more
        return ids

    def save(self) -> Any:
        return self._position

    def load(self, saved: Any) -> None:
        if type(saved) is not int or saved < 0:
            raise ValueError(saved)
        self._position = saved


class GroupsStage(Stage):
    """The tasks of all groups, one group after the other."""

    def __init__(self, queue: TorrelqueQueue) -> None:
        super().__init__(queue, 'group', 'turns')
        # _scan: the cursor of the names that are walked through now, _next the one behind them, _left those of them to
        # come, _done digests of the others; _after: how far the walk has come in the first of _left.
        self._scan, self._next = '0', ''
        self._left: deque[bytes] = deque()
        self._done: set[bytes] = set()
        self._after: tuple[str, str] = ('', '')
        self._current = b''

    async def read(self, count: int, memory: Memory) -> list[bytes]:
        if not self._next:
            await self._read_names()
        some = [self._left[k] for k in range(min(50, len(self._left)))]
        words: list[str | bytes] = []
        for k, name in enumerate(some):
            score, task_id = ('', '') if k else self._after
            words += b'group:' + name, name, score, bytes_of(task_id)
        ids: list[bytes] = []
        for part in await self._ask('members', count, '', '-inf', '+inf', *words) if words else ():
            more, found = _members(part)
            ids += [member for member, _ in found]
            if more:
                if found:
                    self._after = text_of(found[-1][1]), text_of(found[-1][0])
                break
            self._done.add(digest(self._left.popleft()))
            self._after = ('', '')
        if not self._left:
            self._scan, self._next, self._done = self._next, '', set()
            self.over = self._scan == '0'
        return ids

    async def _read_names(self) -> None:
        following, *names = await self._ask('names', self._scan, 100)
        self._next = text_of(following)
        fresh = [name for name in dict.fromkeys(names) if digest(name) not in self._done]
        if self._current in fresh:
            fresh.remove(self._current)
            fresh.insert(0, self._current)
        else:
            self._after = ('', '')
        self._left = deque(fresh)
        self._current = b''

    def save(self) -> Any:
        current = text_of(self._left[0]) if self._left and self._after[0] else ''
        return [self._scan, ''.join(sorted(mark.hex() for mark in self._done)), current, *self._after]

    def load(self, saved: Any) -> None:
        scan, done, current, *after = saved
        if not scan.isdecimal() or len(scan) > 20:
            raise ValueError(scan)
        marks = bytes.fromhex(done)
        self._scan, self._after, self._current = scan, _check_after(after), bytes_of(current)
        self._done = {marks[k : k + 5] for k in range(0, len(marks), 5)}


def _stages(queue: TorrelqueQueue, place: str, newest_first: bool, lowest: str, highest: str) -> list[Stage]:
    if place.startswith('group:') and place != 'group:':
        return [SetStage(queue, place, place[6:])]
    if place in TIMED or place == 'orphaned':
        name = 'working' if place == 'orphaned' else place
        return [SetStage(queue, name, newest_first=newest_first, lowest=lowest, highest=highest)]
    made: dict[str, list[Stage]] = {
        'pending': [ListStage(queue, 'pending'), SetStage(queue, 'priority'), GroupsStage(queue)],
        'ready': [ListStage(queue, 'pending'), SetStage(queue, 'priority'), ListStage(queue, 'turns')],
        'priority': [SetStage(queue, 'priority')],
        'group': [GroupsStage(queue)],
        'turns': [ListStage(queue, 'turns')],
        'waiting': [SetStage(queue, 'waiting', newest_first=newest_first)],
    }
    if place not in made:
        names = ', '.join([*PLACES, 'ready', 'orphaned'])
        raise TorrelqueValueError(f'there is no place {place!r}: {names} and group:NAME are')
    return made[place]


def _score_of(instant: float | None, none: str) -> str:
    # Rounded, because an instant that was divided by 1000 would else miss its own score.
    return none if instant is None else f'{round(check.check_number(instant, "an instant", 0) * 1000, 3):.17g}'


class Walk:
    """How far a walk through a place has come."""

    def __init__(
        self, queue: TorrelqueQueue, place: str, *, newest_first: bool = False,
        since: float | None = None, until: float | None = None,
    ) -> None:  # fmt: skip
        if (since is not None or until is not None) and place not in (*TIMED, 'orphaned'):
            raise TorrelqueValueError(f'tasks of {place!r} have no instant by which they can be restricted')
        lowest, highest = _score_of(since, '-inf'), _score_of(until, '+inf')
        self._stages = _stages(queue, place, newest_first, lowest, highest)
        self._sign = f'{queue.name}\0{place}\0{newest_first:d}'.encode('utf-8', 'surrogatepass')
        self._at = 0
        self._memory = Memory()

    @property
    def ranked(self) -> SetStage | None:
        """The only stage, where that has a total order, in which walks of several queues can be put together."""
        [stage, *others] = self._stages
        return stage if not others and isinstance(stage, SetStage) else None

    @property
    def over(self) -> bool:
        """Whether nothing is left to be looked at."""
        return self._at == len(self._stages)

    @property
    def broken(self) -> tuple[str, ...]:
        """Short names of keys that were met and hold something else."""
        return tuple(sorted({name for stage in self._stages for name in stage.broken}))

    async def read(self, count: int) -> tuple[list[bytes], tuple[str, ...]]:
        """The next ids, about so many, or none though more is to come; and what `TaskView.place` says of their place.
        """
        stage = self._stages[self._at]
        ids = await stage.read(count, self._memory)
        if stage.over:
            self._at += 1
        return [it for it in ids if self._memory.add(digest(it))], stage.names

    # As a text

    def save(self) -> str | None:
        """The cursor as an opaque text; None where the walk is over."""
        if self.over:
            return None
        marks = b''.join([*self._memory.order][-WRITTEN:])
        body = json.dumps([self._at, self._stages[self._at].save(), base64.b64encode(marks).decode()]).encode()
        return base64.urlsafe_b64encode(self._seal(body) + body).decode().rstrip('=')

    def load(self, cursor: str) -> None:
        """Go on from a cursor.

        :raises TorrelqueValueError: it is none, or one of another place.
        """
        try:
            data = base64.urlsafe_b64decode(cursor.encode('ascii') + b'=' * (-len(cursor) % 4))
            if data[:6] != self._seal(data[6:]):
                raise ValueError
            self._at, saved, marks = json.loads(data[6:])
            self._stages[self._at].load(saved)
            marks = base64.b64decode(marks)
            for k in range(0, len(marks), 5):
                self._memory.add(marks[k : k + 5])
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError, binascii.Error) as exc:
            raise TorrelqueValueError('the cursor is not of a page of this place') from exc

    def _seal(self, body: bytes) -> bytes:
        return blake2b(self._sign + b'\0' + body, digest_size=6).digest()


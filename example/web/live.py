"""What the pages are told: the tasks of each visitor as they change, and the figures of the queue.

A task is followed with `Torrelque.watch`, once, for as long as its visitor has a page open.  Each page has a stream of
frames, and takes the next one when it likes: until then changes add up, and of each task only the last state is told.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import torrelque
from consumer import backoff
from lists import AWAY, Lists, Record
from torrelque import QueueStats, TaskState, Torrelque

AWAY_TEXT = 'The server of the queue is away. Waiting for it…'
PAUSE = 0.1
"""s between two frames of a stream."""
STATS_PAUSE = 0.25
"""s between two looks at the figures when much is going on."""
HEARTBEAT = 2
"""s without a change after which the figures are read all the same, to see whether the server is there."""
PATIENCE = 1
"""s that the server may take to answer before the pages are told that it is away."""


class Stream:
    """What one page has yet to be told."""

    def __init__(self) -> None:
        self.changed: dict[str, None] = {}
        """Ids of tasks, in the order of their first change."""
        self.stats = True
        self.ring = asyncio.Event()


class Visitor:
    """Somebody who has a page open, or several."""

    def __init__(self) -> None:
        self.streams: set[Stream] = set()
        self.records: dict[str, Record] = {}
        self.states: dict[str, TaskState | None] = {}
        """None is of a task that the queue has forgotten; of a new one there is no state yet."""
        self.watchers: dict[str, asyncio.Task[None]] = {}
        self.all_known = asyncio.Event()

    def mark(self, task_ids: Iterable[str]) -> None:
        """Have the pages told of these."""
        changed = dict.fromkeys(task_ids)
        for stream in self.streams:
            stream.changed.update(changed)
            stream.ring.set()

    def check_known(self) -> None:
        if len(self.states) < len(self.records):
            self.all_known.clear()
        else:
            self.all_known.set()


class Live:
    """Follows what the pages show."""

    def __init__(self, queue: Torrelque, lists: Lists, speed: float) -> None:
        self._queue = queue
        self._lists = lists
        self._speed = speed
        self._visitors: dict[str, Visitor] = {}
        self._stats: QueueStats | None = None
        self._away = False
        self._trouble = ''
        self._changed = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> 'Live':
        self._following = asyncio.create_task(self._follow_stats())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end_streams()
        watchers = [watcher for visitor in self._visitors.values() for watcher in visitor.watchers.values()]
        for task in (self._following, *watchers):
            task.cancel()
        await asyncio.gather(self._following, *watchers, return_exceptions=True)

    # What changes the list of a visitor

    def add(self, token: str, records: dict[str, Record]) -> None:
        """Follow these, too, if the visitor has a page open; or have their new records."""
        visitor = self._visitors.get(token)
        if visitor is None:
            return
        for task_id in records.keys() - visitor.watchers.keys():
            visitor.watchers[task_id] = asyncio.create_task(self._watch(visitor, task_id))
        visitor.records.update(records)
        visitor.check_known()

    def remove(self, token: str, task_ids: Iterable[str]) -> None:
        visitor = self._visitors.get(token)
        if visitor is None:
            return
        for task_id in task_ids:
            visitor.records.pop(task_id, None)
            visitor.states.pop(task_id, None)
            if watcher := visitor.watchers.pop(task_id, None):
                watcher.cancel()
        visitor.check_known()
        visitor.mark(task_ids)

    # What a page is told

    async def frames(self, token: str) -> AsyncGenerator[dict[str, Any], None]:
        """All of the visitor's tasks, then what changes; until the page goes away, or `end_streams`."""
        stream = Stream()
        visitor = self._visitors.setdefault(token, Visitor())
        # Before the list is read: what is started meanwhile is told as well.
        visitor.streams.add(stream)
        self._changed.set()
        try:
            while not self._closed and not await self._load(token):
                yield {'trouble': AWAY_TEXT}
                await asyncio.sleep(1)
            # All at once, rather than one by one.
            await wait(visitor.all_known, 1)
            stream.changed.update(dict.fromkeys(visitor.records))
            frame = {**await self._compose(visitor, stream), 'reset': True}
            while not self._closed:
                yield frame
                await asyncio.sleep(PAUSE)
                await stream.ring.wait()
                stream.ring.clear()
                frame = await self._compose(visitor, stream)
        finally:
            visitor.streams.discard(stream)
            if not visitor.streams:
                del self._visitors[token]
                for watcher in visitor.watchers.values():
                    watcher.cancel()

    def end_streams(self) -> None:
        """End them now: the web server waits for open connections when it stops."""
        self._closed = True
        self._ring_all()

    # Parts

    async def _load(self, token: str) -> bool:
        try:
            self.add(token, await self._lists.load(token))
        except AWAY:
            return False
        return True

    async def _watch(self, visitor: Visitor, task_id: str) -> None:
        state = None
        while True:
            try:
                async for state in self._queue.watch(task_id):
                    self._trouble = ''
                    self._note(visitor, task_id, state)
            except torrelque.LookupError:
                state = None
            except (torrelque.Error, *AWAY) as exc:
                # What the server has of the task cannot be read.  The pages say so, and go on when that is mended.
                self._trouble = str(exc)
                self._ring_all()
                await asyncio.sleep(2)
                continue
            break
        if state is None or not state.status.isfinal():
            self._note(visitor, task_id, None)

    def _note(self, visitor: Visitor, task_id: str, state: TaskState | None) -> None:
        visitor.states[task_id] = state
        visitor.check_known()
        visitor.mark([task_id])
        self._changed.set()

    async def _follow_stats(self) -> None:
        """Read the figures when something has changed, a few times a second at the most, and at each heartbeat."""
        while not self._closed:
            await wait(self._changed, HEARTBEAT if self._visitors else None)
            self._changed.clear()
            was_away = self._away
            try:
                self._stats = await asyncio.wait_for(self._queue.get_queue_stats(), PATIENCE)
                self._away = False
            except (asyncio.TimeoutError, *AWAY):
                self._away = True
                self._changed.set()
            if was_away and not self._away:
                for visitor in self._visitors.values():
                    visitor.mark(visitor.records)
            self._ring_all()
            await asyncio.sleep(STATS_PAUSE)

    def _ring_all(self) -> None:
        for visitor in self._visitors.values():
            for stream in visitor.streams:
                stream.stats = True
                stream.ring.set()

    async def _compose(self, visitor: Visitor, stream: Stream) -> dict[str, Any]:
        """The next frame of a stream: what has changed since the last one."""
        task_ids, stream.changed = list(stream.changed), {}
        frame: dict[str, Any] = {'trouble': AWAY_TEXT if self._away else self._trouble}
        if stream.stats and self._stats is not None:
            frame['stats'] = self._stats._asdict()
        stream.stats = False
        states = {task_id: visitor.states[task_id] for task_id in task_ids if task_id in visitor.states}
        delayed = any(state and state.due_time for state in states.values())
        now = await self._lists.read_clock() if delayed else None
        frame['tasks'] = [
            self._view(task_id, visitor.records[task_id], state, now)
            for task_id, state in states.items()
            if task_id in visitor.records
        ]
        frame['gone'] = [task_id for task_id in task_ids if task_id not in visitor.records]
        return frame

    def _view(
        self, task_id: str, record: Record, state: TaskState | None, now: float | None
    ) -> dict[str, Any]:
        """What a page shows of a task; `now` is by the server's clock, None where it is not needed or not known.

        Durations (s), no instants: the browser's clock may be wrong.
        """
        view: dict[str, Any] = {'id': task_id, 'kind': record.kind, 'title': record.title, 'started': record.started}
        if state is None:
            return {**view, 'status': 'cancelled' if record.cancelled else 'forgotten'}
        seconds = None
        if state.release_time and state.last_dequeue_time:
            seconds = state.release_time - state.last_dequeue_time
        return {
            **view,
            'status': state.status.name.lower(),
            'attempt': state.dequeue_count - state.forgiven,
            'attempts': state.max_attempts,
            'retry_in': max(0, state.due_time - now) if state.due_time and now else None,
            'retry_after': backoff(state.dequeue_count, self._speed),
            'progress': state.progress,
            'result': state.result,
            'error': state.error,
            'seconds': seconds,
        }


async def wait(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for an event, but not for ever."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        pass

"""The hub: any number of watchers share one connection that listens, and each other's reads.

A notification says only *that* the state of a task has changed.  So a watch subscribes, then reads, then waits, and
what was subscribed is read again after each notification, after each confirmation of the subscription, and slowly in
any case, because notifications may be lost.  Reads of many tasks are one call, and one call is on its way at a time.

Where the server sends no notifications, does not say whether it does (`setting` has the modes, and who switches), or
refuses to tell of a task, the task is *looked at* as well, by a schedule (`reading`): a few fields are compared with
what was read last, and where they differ it is read.

A task that is watched is in one of these states:

JOINED     its subscription is to be confirmed, which marks it; the next tick does so anyway
MARKED     it is to be read (`_marked`)
READING    it is part of the call that is on its way (`_reading`), whose values its watchers are told
QUIET      nothing has changed, as far as is known
SCHEDULED  as QUIET, but the server does not tell of changes: the schedule says when it is looked at (`_schedule`)
LOOKED AT  it is part of the call that is on its way, which brings a few fields of it

    join --> JOINED --> MARKED --> READING --> QUIET or, by the mode, SCHEDULED --> LOOKED AT
                         ^  ^         |          |                      ^ |             |  |
                         |  +---------+          |                      | |    the same |  |
                         |   no answer           |                      +-|-------------+  |
                         +-----------------------+------------------------+                |
                         |   a notification, or `watch_safety_ticks` without one           |
                         +-----------------------------------------------------------------+
                             it differs, or no answer

When its last watcher leaves, a task is forgotten, with its subscription, whatever state it is in (`_forget`).  A
watcher is told the values of a read that was sent after it joined, never older ones (`Watcher.since`, `_number`).

What happens when something is lost:

the listening connection    it is made anew, and each confirmation has its task read; until then all tasks are read at
                            each tick, but for those that are looked at anyway
the connection for calls    the read, look or question that was on its way is tried again after a pause
a notification              the task is read some ticks later; when it has changed, the setting is asked for
the setting                 is asked for every few seconds; when it is another one, what is watched goes over to, or
                            leaves, the schedule, and its watchers notice nothing
a reply that makes sense    as the connection for calls, for ten seconds; then the watchers of these tasks are told
"""

import asyncio
import collections
import contextlib
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from torrelque.error import (
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueLookupError,
    copy_error,
    of_queue,
    reason_of,
)
from torrelque.protocol.calls import Calls
from torrelque.protocol.replies import STATE_FIELDS, damage_of, read_state, read_states

from .connection import Connector
from .link import Link, Request
from .listener import Listener
from .reading import LOOK_FIELDS, Schedule, brief_of, budget_of
from .setting import Mode, Setting
from .watcher import Task, Watcher

logger = logging.getLogger('torrelque')

_Have = Callable[[list[Task], list[Any]], None]


class Hub:
    """The watchers of a queue object, in its event loop."""

    def __init__(self, link: Link, connector: Connector, calls: Calls, prefix: str) -> None:
        self.loop = link.loop
        """The event loop that it belongs to."""
        self.queue = calls.name
        """Name of the queue, for messages."""
        self._bounds = bounds = calls.bounds
        """Limits and times."""
        self._link = link
        """The connection for calls."""
        self._listener = Listener(connector, bounds, self._heard, self._refused)
        """The connection that listens."""
        self._setting = Setting(link, connector.client, calls.name, self._switched, self._unreached)
        """Whether the server sends notifications, as far as is known."""
        self._in_cluster = connector.cluster
        """Whether the queue may move to another server."""
        self._transition = calls.transitions['state']
        """The script that reads states."""
        # `_to_read` and `_to_look` are what a call that reads, or that looks, says before the ids of its tasks.
        self._to_read, self._to_look = calls.state(STATE_FIELDS), calls.state(LOOK_FIELDS)
        self._prefix = prefix.encode()
        """What the channels of all tasks begin with."""
        self._serialiser = calls.serialiser
        """What makes values of results and progress."""
        self._tasks: dict[bytes, Task] = {}
        """What is watched, by channel."""
        self._marked: collections.OrderedDict[Task, None] = collections.OrderedDict()
        """Tasks to read, the longest marked first."""
        self._schedule = Schedule(budget_of(link), bounds)
        """Tasks to look at, and when."""
        self._clock: asyncio.TimerHandle | None = None
        """Runs out when the next look is due."""
        # `_reading` is whether a call is on its way, `_looked` whether the last one was a look.
        self._reading = self._looked = False
        self._number = 0
        """Of the last read; a watcher that joined before it was sent may be told what it brings."""
        self._ticks = 0
        """Since the hub was made, while anything was watched."""
        self._rounds: collections.deque[list[Task]] = collections.deque([[]])
        """Tasks by the tick in which they were read last, the newest first."""
        self._timer: asyncio.TimerHandle | None = None
        """Of the next tick; None when nothing is watched."""
        self._error: Exception | None = None
        """Why the last call failed; None when it did not."""
        self._closed = False
        """Whether the queue object is closed, or was collected."""

    def join(self, task_id: str, timeout: float | None) -> Watcher:
        """Begin to watch a task, for a time (s)."""
        channel = self._prefix + task_id.encode()
        if not self._tasks:
            self._setting.refresh()
        task = self._tasks.get(channel)
        if task is None:
            task = self._tasks[channel] = Task(task_id, channel)
            self._listener.subscribe(channel)
        watcher = Watcher(task, self._number, timeout, self.queue)
        task.watchers.append(watcher)
        if task.tick >= 0 or self._listener.established and not self._listener.connected or self._looks_at(task):
            # Read it for this watch: what was read, or is being read, may be older than the watch, and the confirmation
            # that has a new task read may be long in coming.
            self._mark(task)
        if self._looks_at(task):
            self._schedule.begin(task, self.loop.time())
        if timeout is not None:
            watcher.timer = self.loop.call_later(timeout, self._expire, watcher)
        if self._timer is None:
            self._timer = self.loop.call_later(self._bounds.watch_tick, self._tick)
        self._read()
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Watch no longer; the last watcher of a task takes its subscription along."""
        watcher.end()
        task = watcher.task
        if watcher in task.watchers and not self.loop.is_closed():
            task.watchers.remove(watcher)
            self._forget(task)

    def leave_soon(self, watcher: Watcher) -> None:
        """As `leave`, from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the watch ended with it
            self.loop.call_soon_threadsafe(self.leave, watcher)

    def close(self) -> None:
        """End all watches with an error, and leave nothing behind."""
        self._closed = True
        for task in list(self._tasks.values()):
            self._end(TorrelqueClosedError(f'the queue was closed while task {task.id!r} was watched'), [task])
        self._listener.close()

    def _expire(self, watcher: Watcher) -> None:
        if not watcher.late and (watcher.state is None or self._looks_at(watcher.task)):
            # Nothing was read in time, or the task is only looked at now and then and may have ended since.  Read it
            # now, without waiting for the subscription's confirmation, and give that read `Bounds.grace` more.
            watcher.late = True
            if watcher.state is not None:
                watcher.since = self._number
            self._mark(watcher.task)
            self._read()
            watcher.timer = self.loop.call_later(self._bounds.grace, self._expire, watcher)
        else:
            error = watcher.too_late()
            error.__cause__ = self._error
            watcher.end(error)
            self.leave(watcher)

    # What the server tells

    def _looks_at(self, task: Task) -> bool:
        """Whether a task is looked at again and again."""
        return task.deaf or self._setting.mode is Mode.READING

    def _heard(self, channels: list[bytes]) -> None:
        for channel in channels:
            task = self._tasks.get(channel)
            if task is not None:
                task.deaf = task.unheard = False
                if not self._looks_at(task):
                    self._schedule.drop(task)
                self._mark(task)
        self._read()

    def _refused(self, channels: list[bytes], error: Exception) -> None:
        self._setting.warn(f'the server does not let it listen ({error})')
        for channel in channels:
            task = self._tasks.get(channel)
            if task is not None and not task.deaf:
                task.deaf = True
                self._mark(task)
        self._read()

    def _switched(self) -> None:
        """Go on with what is watched in the new mode of the setting."""
        for task in self._tasks.values():
            if not self._looks_at(task):
                self._schedule.drop(task)
            if task.values is not None or self._looks_at(task):
                # No notification came for what changed while they were off, so read it where they are on now, too.
                self._mark(task)
        self._read()

    def _unreached(self, error: Exception) -> None:
        if not self._passing(error):
            self._end(error)
        elif self._tasks:
            self.loop.call_later(self._bounds.watch_pause, self._setting.ask)

    # Reading

    def _mark(self, task: Task) -> None:
        """Have a task read, unless nobody watches it any more."""
        if task.watchers:
            self._marked[task] = None

    def _read(self) -> None:
        """Read what is marked, or look at what is due, unless a call is on its way; in turn, where there are both."""
        if self._reading:
            return
        looks = [] if self._marked and self._looked else self._schedule.take(self.loop.time())
        self._looked = bool(looks)
        tasks: list[Task] = []
        while self._marked and not looks and len(tasks) < self._bounds.bulk:
            task, _ = self._marked.popitem(last=False)
            tasks.append(task)
            if task.tick != self._ticks:
                task.tick = self._ticks
                self._rounds[0].append(task)
        if looks:
            self._send(self._to_look, looks, None, self._have_looked)
        elif tasks:
            self._number += 1
            self._send(self._to_read, tasks, len(STATE_FIELDS), self._have_read)
        else:
            self._wind()

    def _send(self, head: list[str], tasks: list[Task], width: int | None, have: _Have) -> None:
        self._reading = True
        args = [*head, *[task.id for task in tasks]]
        self._link.submit(Request(self._transition, args, functools.partial(self._have, tasks, width, have)))

    def _wind(self) -> None:
        """Have `_read` called when the next look is due."""
        when = self._schedule.when()
        if when is not None and (self._clock is None or when < self._clock.when()):
            if self._clock is not None:
                self._clock.cancel()
            self._clock = self.loop.call_at(when, self._strike)

    def _strike(self) -> None:
        self._clock = None
        self._read()

    def _have(
        self, tasks: list[Task], width: int | None, have: _Have, reply: Any, error: Exception | None
    ) -> None:
        self._reading = False
        items: list[Any] = []
        if error is None:
            try:
                items = read_states(reply, len(tasks), width)
            except TorrelqueError as exc:
                self._misread(tasks, exc)
            else:
                self._error = None
                have(tasks, items)
                self._follow()
        elif self._passing(error):
            self.loop.call_later(self._bounds.watch_pause, self._again, tasks)
        else:
            self._end(error, tasks)
        self._read()

    def _have_read(self, tasks: list[Task], items: list[Any]) -> None:
        for task, item in zip(tasks, items, strict=False):
            if task.watchers:
                self._deliver(task, item)
        for task in tasks[len(items) :]:
            # The reply had no room for these tasks: their states would have been too many bytes.
            self._mark(task)

    def _have_looked(self, tasks: list[Task], items: list[Any]) -> None:
        now, size = self.loop.time(), 0
        for task, item in zip(tasks, items, strict=False):
            if item != task.brief:
                # The task has changed.  It enters the schedule again when it has been read.
                self._mark(task)
            elif task.watchers and self._looks_at(task):
                size += task.size
                self._schedule.go_on(task, now)
        self._schedule.spent(len(items), size, now)
        self._schedule.give_back([task for task in tasks[len(items) :] if task.watchers and self._looks_at(task)])

    def _misread(self, tasks: list[Task], error: Exception) -> None:
        """Read tasks again, for a while, for which the reply made no sense."""
        self._error = error
        now = self.loop.time()
        for task in tasks:
            task.troubled = task.troubled or now
        self._end(error, [task for task in tasks if now - (task.troubled or now) >= self._bounds.repeat])
        self.loop.call_later(self._bounds.watch_pause, self._again, tasks)

    def _again(self, tasks: list[Task]) -> None:
        for task in tasks:
            self._mark(task)
        self._read()

    def _passing(self, error: Exception | None) -> bool:
        """Whether an error is that of a server that was there before, and will be again."""
        if not isinstance(error, TorrelqueConnectionError) or not self._link.established or self._closed:
            return False
        if self._error is None:
            logger.warning('queue %r: watching goes on when the server is back: %s', self.queue, reason_of(error))
        self._error = error
        return True

    def _deliver(self, task: Task, values: Any) -> None:
        """Hand the state to the watchers that joined before the read was sent.

        For those that joined later it may be too old; they have marked the task for another read.
        """
        present = [watcher for watcher in task.watchers if watcher.since < self._number]
        changed = values != task.values
        if changed:
            try:
                if broken := damage_of(values, task.id, self.queue):
                    raise broken
                task.state = read_state(values, self._serialiser, task.id)
            except TorrelqueError as exc:
                self._end(exc, [task])
                return
            task.values = values
            task.brief = list(brief_of(values))
            task.size = len(task.brief[-1] or b'')
            if task.unheard:
                self._setting.ask()
        task.unheard = False
        task.troubled = None
        if task.state is None:
            for watcher in present:
                unknown = TorrelqueLookupError(f'the queue has no task {task.id!r}')
                watcher.end(of_queue(self.queue, unknown) if watcher.state is None else None)
        else:
            for watcher in present:
                watcher.take(task.state)
        if any(watcher.over for watcher in present):
            task.watchers = [watcher for watcher in task.watchers if not watcher.over]
            self._forget(task)
        if self._looks_at(task) and task.watchers and (changed or task not in self._schedule):
            self._schedule.begin(task, self.loop.time())

    # Keeping

    def _tick(self) -> None:
        """Look after the connection, and read what nothing was heard of for long."""
        self._timer = None
        self._ticks += 1
        self._rounds.appendleft([])
        if self._ticks % self._bounds.watch_ask_ticks == 0:
            self._setting.ask()
            self._listener.retry()
        well = self._listener.tick()
        overdue = self._rounds.pop() if len(self._rounds) > self._bounds.watch_safety_ticks else []
        for task in overdue:
            if task.tick == self._ticks - self._bounds.watch_safety_ticks and not self._looks_at(task):
                task.unheard = True
                self._mark(task)
        for task in self._tasks.values():
            # A task whose subscription is not confirmed is read, and without a connection every task.
            if task.values is None or not well and not self._listener.connected and not self._looks_at(task):
                self._mark(task)
        if well and self._in_cluster and self._tasks:
            # A server that lost the slot says so to a read, and not to a connection that listens: read a task.
            self._mark(next(iter(self._tasks.values())))
        self._follow()
        self._read()
        if self._tasks:
            self._timer = self.loop.call_later(self._bounds.watch_tick, self._tick)

    def _follow(self) -> None:
        """Listen where the queue is: the link may have moved, because an error told it where the queue went."""
        if self._link.connected and self._listener.connected and self._link.place != self._listener.place:
            self._listener.renew()
            self._setting.ask()

    def _forget(self, task: Task) -> None:
        if task.watchers or self._tasks.get(task.channel) is not task:
            return
        del self._tasks[task.channel]
        self._marked.pop(task, None)
        self._schedule.drop(task)
        task.values = task.state = None
        self._listener.unsubscribe(task.channel)
        if not self._tasks:
            for timer in (self._timer, self._clock):
                if timer is not None:
                    timer.cancel()
            self._timer = self._clock = None
            self._rounds = collections.deque([[]])

    def _end(self, error: Exception, tasks: Sequence[Task] | None = None) -> None:
        if isinstance(error, TorrelqueError):
            of_queue(self.queue, error)
        for task in list(self._tasks.values()) if tasks is None else tasks:
            watchers, task.watchers = task.watchers, []
            for watcher in watchers:
                watcher.end(copy_error(error))
            self._forget(task)

"""What waits for several shards in threads; above all for a task at all of them: one for each, while anybody waits.

A thread that waits cannot be made to stop waiting, so those who wait for tasks of any shard do not wait at the shards
themselves: a thread of each shard takes tasks for all of them, a second at a time, and gives back what nobody wants any
more, uncounted.  When nobody waits, the threads end.
"""

import concurrent.futures
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import redis

from torrelque import (
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueServerError,
    TorrelqueTaskId,
    TorrelqueTimeoutError,
)
from torrelque.sync import Torrelque

from .inside import mark, marked, reason_of

logger = logging.getLogger(__package__)

Delivery = tuple[TorrelqueTaskId, Any]
T = TypeVar('T')

SPELL = 1.0
"""For how long (s) a thread waits at its shard before it looks whether anybody still waits."""
AGAIN = 0.2
"""After how long (s) a shard is asked again that has failed."""
MOST = 250
"""How many tasks are taken together at the most."""


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What some calls come to that wait for shards or servers, each in a thread of its own."""
    found: list[concurrent.futures.Future[T]] = [concurrent.futures.Future() for _ in calls]

    def carry_out(call: Callable[[], T], future: concurrent.futures.Future[T]) -> None:
        try:
            future.set_result(call())
        except BaseException as exc:
            future.set_exception(exc)

    for each in zip(calls, found, strict=True):
        threading.Thread(target=carry_out, args=each, daemon=True, name='torrelque look').start()
    return [future.result() for future in found]


class Queue(Protocol):
    """What is asked of the queue object."""

    name: str

    def _look_in_time(self) -> None:
        """Read the map again, when it is time."""

    def _is_up(self, number: int) -> bool:
        """Whether a shard is there, as far as is known."""
        raise NotImplementedError

    def _look_after(self, number: int) -> None:
        """Have it known when a shard is there again."""


class _Waiter:
    """A call that waits."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.got: list[Delivery] = []
        self.over = threading.Event()


class Takers:
    """The threads of one queue object."""

    def __init__(self, shards: Sequence[Torrelque], queue: Queue) -> None:
        self._shards = shards
        self._queue = queue
        self._lock = threading.Lock()
        self._waiters: list[_Waiter] = []
        """The calls that wait, in their order."""
        self._errors: dict[int, Exception] = {}
        """Why shards have not answered when they were asked last."""
        self._taking: set[int] = set()
        """Shards that have a thread."""
        self._closed = False

    def add(self, shards: Sequence[Torrelque]) -> None:
        """Take tasks of more shards, for whoever waits already, too; those that were there are the first."""
        with self._lock:
            if len(shards) > len(self._shards):
                self._shards = shards
                if self._waiters:
                    self._begin()

    def fetch(self, timeout: float | None, wanted: int) -> list[Delivery]:
        """At least one task and at most ``wanted``, all of one shard, or `TorrelqueTimeoutError`."""
        end = None if timeout is None else time.monotonic() + timeout
        found = self._look(wanted)
        if found:
            return found
        if timeout != 0:
            found = self._wait(end, wanted)
            if found:
                return found
        if self._closed:
            raise TorrelqueClosedError('the queue was closed')
        error = TorrelqueTimeoutError(f'no task came within {timeout or 0:g} s')
        if silent := [*self._errors.values()]:
            error.replied, error.__cause__ = False, silent[0]
        raise error

    def close(self) -> None:
        """End all waiting; the threads end by the errors of their shards."""
        with self._lock:
            self._closed = True
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.over.set()

    # Parts

    def _look(self, wanted: int) -> list[Delivery]:
        """What there is now: one shard after the other is asked, those last that have not answered.

        :raises TorrelqueServerError: all refuse.
        """
        order = random.sample(range(len(self._shards)), len(self._shards))
        refused: list[Exception] = []
        for number in sorted(order, key=self._errors.__contains__):
            # One that is away would be waited for each time.
            if number not in self._errors or self._queue._is_up(number) or len(self._errors) == len(self._shards):
                try:
                    return self._marked(self._shards[number].dequeue_many(wanted, 0), number)
                except TorrelqueTimeoutError as exc:
                    self._note(number, None if exc.replied else exc)
                except TorrelqueConnectionError as exc:
                    self._note(number, exc)
                except TorrelqueServerError as exc:
                    self._note(number, exc)
                    refused.append(exc)
        if len(refused) == len(self._shards):
            raise refused[0]
        return []

    def _wait(self, end: float | None, wanted: int) -> list[Delivery]:
        waiter = _Waiter(wanted)
        with self._lock:
            if self._closed:
                return []
            self._waiters.append(waiter)
            self._begin()
        try:
            waiter.over.wait(None if end is None else max(0.0, end - time.monotonic()))
        except BaseException:
            self._leave(waiter)
            self._give_back(waiter.got)
            raise
        self._leave(waiter)
        return waiter.got

    def _begin(self) -> None:
        """Have a thread for each shard."""
        for number in range(len(self._shards)):
            if number not in self._taking:
                self._taking.add(number)
                threading.Thread(target=self._take, args=(number,), daemon=True, name='torrelque taker').start()

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _take(self, number: int) -> None:
        """Take tasks of a shard while anybody waits."""
        shard = self._shards[number]
        while True:
            with self._lock:
                wanted = min(MOST, sum(waiter.wanted for waiter in self._waiters))
                if not wanted or self._closed:
                    self._taking.discard(number)
                    return
            try:
                if number == 0:
                    # Those who wait call nothing meanwhile.
                    self._queue._look_in_time()
                left = self._hand_out(self._marked(shard.dequeue_many(wanted, SPELL), number))
                self._note(number, None)
                self._give_back(left)
            except TorrelqueClosedError:
                self.close()
            except TorrelqueTimeoutError as exc:
                self._note(number, None if exc.replied else exc)
            except (TorrelqueError, redis.RedisError) as exc:
                if isinstance(exc, TorrelqueServerError) and number not in self._errors:
                    logger.warning(
                        'queue %r: shard %d refuses to hand out tasks: %s', self._queue.name, number, reason_of(exc)
                    )
                self._note(number, exc)
                time.sleep(AGAIN)

    def _hand_out(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Give tasks to those who wait, in the order of their calls; what is left."""
        with self._lock:
            while deliveries and self._waiters:
                waiter = self._waiters.pop(0)
                waiter.got, deliveries = deliveries[: waiter.wanted], deliveries[waiter.wanted :]
                waiter.over.set()
        return deliveries

    def _give_back(self, deliveries: Sequence[Delivery]) -> None:
        for task_id, _ in reversed(deliveries):
            self._shards[marked(task_id) or 0].requeue(task_id, forgive=True)

    def _note(self, number: int, error: Exception | None) -> None:
        if error is None:
            self._errors.pop(number, None)
        else:
            self._errors[number] = error
            if not isinstance(error, TorrelqueServerError):
                self._queue._look_after(number)

    @staticmethod
    def _marked(deliveries: list[Delivery], number: int) -> list[Delivery]:
        for task_id, _ in deliveries:
            mark(task_id, number)
        return deliveries

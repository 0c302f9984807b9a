"""Waiting consumers share one blocking connection; the sweep timer.

All who wait for a task of one `Torrelque` wait here.  A claim by script takes as many tasks as there are waiters, who
get them in the order of their calls.  When there are none the fetcher blocks at the doorbell, a list of one element,
on a connection of its own, and claims again after every wake, error or `BLOCK` seconds.  No task is ever popped by a
blocking command, which could lose it together with the connection.

It is a state machine of callbacks: no task of the event loop runs here that could be cancelled at a bad moment.
"""

import asyncio
import collections
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from .calls import claim_args
from .error import TorrelqueClosedError, TorrelqueConnectionError, TorrelqueTimeoutError
from .link import Link, Request
from .model import TorrelqueSerialiser, TorrelqueTaskId
from .protocol import (
    BLOCK,
    BULK,
    BULK_BYTES,
    GRACE,
    SWEEP,
    Claimed,
    Transition,
    error_code,
    read_claimed,
    read_troubles,
)

logger = logging.getLogger(__package__)

CLOSING = 2.0
"""s that closing, or a cancelled waiter, waits for the reply of a claim that is on its way."""
ACKNOWLEDGE = 0.1
"""s after which a claim is acknowledged by itself, when no other call did."""

Delivery = tuple[TorrelqueTaskId, Any]


class _Waiter:
    __slots__ = ('future', 'got', 'over', 'stays', 'timer', 'wanted')

    def __init__(self, future: 'asyncio.Future[list[Delivery]]', wanted: int, stays: bool) -> None:
        self.future = future
        self.wanted = wanted
        self.stays = stays
        self.got: list[Delivery] = []
        self.over = False
        self.timer: asyncio.TimerHandle | None = None


class Fetcher:
    """Takes tasks of one queue for all who wait for one in this process.

    ``give_back`` puts tasks that nobody waits for any more to the head of the queue, uncounted; ``reject`` buries one
    whose payload cannot be read.
    """

    def __init__(
        self,
        link: Link,
        bell: Link,
        transitions: dict[str, Transition],
        keys: dict[str, str],
        serialiser: TorrelqueSerialiser,
        give_back: Callable[[Sequence[TorrelqueTaskId]], None],
        reject: Callable[[str | bytes, str, BaseException], None],
    ) -> None:
        self._link = link
        self._bell = bell
        self._transitions = transitions
        self._loads = serialiser.loads
        self._give_back = give_back
        self._reject = reject
        self._bell_key = keys['bell']
        self._records = f'{keys["claim"]}:{secrets.token_hex(8)}'
        self._loop = link.loop
        self._waiters: collections.deque[_Waiter] = collections.deque()
        self._number = 0
        self._again = False
        self._claiming: asyncio.Future[None] | None = None
        self._scheduled = False
        self._crowd = False
        self._unacknowledged = ''
        self._acknowledger: asyncio.TimerHandle | None = None
        self._listening = False
        self._stayed = False
        self._rang = False
        self._sweeping = False
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._closed = False

    async def fetch(self, timeout: float | None, wanted: int) -> list[Delivery]:
        """At least one task and at most ``wanted``, or `TorrelqueTimeoutError`."""
        waiter = _Waiter(self._loop.create_future(), wanted, timeout != 0)
        if timeout is not None:
            waiter.timer = self._loop.call_later(timeout or GRACE, self._expire, waiter)
            waiter.over = not timeout
        self._waiters.append(waiter)
        self._pump()
        try:
            return await waiter.future
        except BaseException:
            self._leave(waiter)
            try:
                if self._claiming is not None and waiter.future.cancelled():
                    # What the claim brings for this waiter must find its way back, even if the loop ends now.
                    await asyncio.wait([self._claiming], timeout=CLOSING / 4)
            finally:
                if waiter.got:
                    self._return(waiter.got)
            raise
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()

    def acknowledge(self) -> str:
        """The key of a claim's record that any script may delete now, for its reply has come; '' if there is none."""
        record, self._unacknowledged = self._unacknowledged, ''
        return record

    async def close(self) -> None:
        """End all waiting with an error, and leave nothing behind."""
        self._closed = True
        for waiter in list(self._waiters):
            self._resolve(waiter, TorrelqueClosedError('the queue was closed while this call waited for a task'))
        try:
            if self._claiming is not None:
                await asyncio.wait([self._claiming], timeout=CLOSING)
        finally:
            self.abandon()
        if self._number and self._link.connected:
            # The bell may have rung for the connection that was just closed; nobody would know.
            call = self._link.call(self._transitions['leave'], [self._record, str(int(BLOCK * 1000))])
            await asyncio.wait([call], timeout=CLOSING)
            if not call.done():
                call.cancel()
            elif error := call.exception():
                logger.debug('leaving the bell failed: %s', error)

    def abandon(self) -> None:
        """Let the connection and the timers go, where nobody waits."""
        if self._listening and not self._closed and self._link.connected:
            self._ring()
        self._closed = True
        for timer in (self._timer, self._acknowledger):
            if timer is not None:
                timer.cancel()
        self._bell.close()

    # Waiters

    def _leave(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not self._waiters and self._timer is not None:
            # Nobody is left here to keep the time.
            soon = self._timer.when() - self._loop.time() <= BLOCK
            self._timer.cancel()
            self._timer = None
            if soon and not self._closed:
                self._ring()

    def _resolve(self, waiter: _Waiter, error: Exception | None = None) -> None:
        self._leave(waiter)
        if waiter.future.done():
            return
        if waiter.got:
            waiter.future.set_result(waiter.got)
        elif error is not None:
            waiter.future.set_exception(error)

    def _expire(self, waiter: _Waiter) -> None:
        if self._claiming is not None and not waiter.over:
            waiter.over = True
            waiter.timer = self._loop.call_later(GRACE, self._expire, waiter)
        else:
            self._time_out(waiter)

    def _time_out(self, waiter: _Waiter) -> None:
        error = TorrelqueTimeoutError('no task came in time')
        if self._error is not None:
            error.__cause__ = self._error
        self._resolve(waiter, error)

    def _return(self, deliveries: Sequence[Delivery]) -> None:
        # The last first: each goes to the head.
        self._give_back([task_id for task_id, _ in reversed(deliveries)])

    # Claiming

    @property
    def _record(self) -> str:
        return f'{self._records}:{self._number}'

    def _pump(self) -> None:
        """Claim, unless it is done already or nobody waits."""
        if self._claiming is None and not self._scheduled and self._waiters:
            if self._crowd:
                # Those who were served together come again together: let them all come.
                self._scheduled = True
                self._loop.call_soon(self._claim)
            else:
                self._claim()

    def _claim(self) -> None:
        self._scheduled = False
        if self._claiming is not None or not self._waiters:
            return
        wanted = staying = 0
        for waiter in self._waiters:
            if waiter.stays and not waiter.got:
                # Stays when the claim brings fewer than this.
                staying = wanted + 1
            wanted += waiter.wanted - len(waiter.got)
            if wanted >= BULK:
                break
        if not self._again:
            self._number += 1
        self._claiming = self._loop.create_future()
        self._stayed = staying > 0
        self._rang = False
        args = claim_args(
            self.acknowledge(),
            self._record,
            min(wanted, BULK),
            0 if self._closed else staying,
            BULK_BYTES,
        )
        self._link.submit(Request(self._transitions['claim'], args, self._claimed, resent=self._again))

    def _claimed(self, reply: Any, error: Exception | None) -> None:
        claiming, self._claiming = self._claiming, None
        if claiming is not None and not claiming.done():
            claiming.set_result(None)
        if error is not None:
            self._failed(error)
            return
        if self._error is not None:
            logger.info('the server is back')
            self._error = None
        self._again = False
        claimed = read_claimed(reply)
        for task_id, trouble in claimed.troubles:
            logger.warning('task %r of the queue was damaged: %s', task_id, trouble)
        if claimed.tasks or claimed.foreign:
            self._unacknowledged = self._record
            if self._acknowledger is None:
                self._acknowledger = self._loop.call_later(ACKNOWLEDGE, self._acknowledge)
        self._hand_out(claimed)

        due = claimed.wait is not None and claimed.wait <= 0
        near = self._stayed and claimed.wait is not None and claimed.wait <= BLOCK
        if (self._rang or near) and not self._waiters:
            # Rung since, or told that somebody here keeps the time, and nobody is left here for it.
            self._ring()
        if claimed.more or (self._rang and self._waiters):
            # Rung since: what there is now, this claim may not have seen.
            if due:
                self._sweep()
            self._pump()
            return
        for waiter in list(self._waiters):
            if waiter.got:
                self._resolve(waiter)
            elif waiter.over and not due:
                self._time_out(waiter)
        if due:
            self._sweep()
        else:
            self._wait(claimed.wait)

    def _hand_out(self, claimed: Claimed) -> None:
        self._crowd = len(claimed.tasks) > 1
        surplus: list[Delivery] = []
        for foreign_id, token in claimed.foreign:
            self._reject(foreign_id, token, UnicodeError('its id is not UTF-8'))
        for task_id, payload in claimed.tasks:
            try:
                task = self._loads(payload)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as exc:
                self._reject(task_id, task_id.token, exc)
                continue
            while self._waiters and self._waiters[0].future.done():
                self._waiters.popleft()
            if not self._waiters:
                surplus.append((task_id, task))
                continue
            waiter = self._waiters[0]
            waiter.got.append((task_id, task))
            if len(waiter.got) == waiter.wanted:
                self._resolve(waiter)
        if surplus:
            self._return(surplus)

    def _failed(self, error: Exception) -> None:
        # The claim may have been carried out: the next one asks for the same again.
        self._again = True
        lost = isinstance(error, TorrelqueConnectionError) and self._link.established
        lost = lost or error_code(str(error)) in ('NOREPLICAS', 'MISCONF')
        if not lost:
            for waiter in list(self._waiters):
                self._resolve(waiter, error)
        for waiter in list(self._waiters):
            if waiter.got:
                self._resolve(waiter)
        if lost and self._waiters:
            if self._error is None:
                logger.warning('waiting for the server to come back: %s', error)
            self._error = error
            self._loop.call_later(0.1, self._pump)

    def _acknowledge(self) -> None:
        self._acknowledger = None
        if key := self.acknowledge():
            self._link.submit(Request(None, ['DEL', key], lambda reply, error: None))

    # Waiting

    def _wait(self, wait: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiters or self._closed:
            return
        if wait is not None and wait > 0:
            self._timer = self._loop.call_later(wait, self._due)
        if not self._listening:
            self._listening = True
            self._bell.submit(Request(None, ['BLPOP', self._bell_key, f'{BLOCK:g}'], self._rung, repeat=False))

    def _rung(self, reply: Any, error: Exception | None) -> None:
        self._listening = False
        if self._closed:
            return
        self._rang = self._rang or self._claiming is not None
        if self._waiters:
            if error is not None:
                logger.debug('the connection to the doorbell failed: %s', error)
                self._loop.call_later(0.2, self._pump)
            else:
                self._pump()
        elif reply is not None or error is not None:
            self._ring()

    def _ring(self) -> None:
        """Have somebody else take what is left, and keep the time."""
        args = [self.acknowledge(), str(int(BLOCK * 1000))]
        self._link.submit(Request(self._transitions['leave'], args, lambda reply, error: None))

    def _due(self) -> None:
        self._timer = None
        if self._waiters:
            self._sweep()

    def _sweep(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._link.submit(Request(self._transitions['sweep'], [str(SWEEP)], self._swept))
            # Right behind it, and not when it has returned: it is for those who wait here.
            self._pump()

    def _swept(self, reply: Any, error: Exception | None) -> None:
        if error is not None:
            logger.warning('a sweep failed: %s', error)
            # Until then none is tried: each claim would call for the next.
            self._loop.call_later(1, self._sweep_again)
            return
        self._sweeping = False
        for task_id, trouble in read_troubles(reply[5]):
            logger.warning('task %r of the queue was damaged: %s', task_id, trouble)
        self._pump()

    def _sweep_again(self) -> None:
        self._sweeping = False
        self._pump()

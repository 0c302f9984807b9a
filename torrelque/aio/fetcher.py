"""Waiting consumers share one blocking connection; the sweep timer.

All calls of `dequeue` of one `Torrelque` wait here.  A claim by script takes as many tasks as there are waiters, and
they get them in the order of their calls.  When there are none the fetcher blocks at the doorbell, a list of one
element, on a connection of its own.  No task is ever popped by a blocking command, because it could be lost together
with the connection.

The fetcher is a state machine of callbacks: no task of the event loop runs here that could be cancelled at a bad
moment.  Its states:

IDLE        nobody waits
CLAIMING    a claim is on its way (`_claiming`)
LISTENING   the last claim left somebody waiting: the bell is listened at (`_bell.call`), and a timer runs until the
            nearest deadline (`_timer`)
AWAY        the last claim failed, and the server was there before (`_error`): everybody waits on
COLLECTING  the last claim failed and nobody waits any more, but it may have taken tasks (`_again`): it is made again
            until its reply has come, for a minute at the most, and what it brings is given back
CLOSED      nothing is claimed any more (`_closed`)

               a call waits                      somebody is not served
    IDLE --------------------------> CLAIMING -------------------------------> LISTENING
     ^   <-- everybody is served ---  |    ^  <-- rung, block over or lost ---
     |                                |    |
     |                      it failed |    | after 0.1 s
     |  its reply has come            v    |
    COLLECTING <-------------------- AWAY -+
                nobody waits any more

Whenever the last waiter goes, by its time or because it was cancelled, the state is IDLE, but for a claim that is on
its way or in doubt.  A sweep (`_sweeping`) is sent when something is due, and a claim right behind it; it belongs to no
state.

Who wakes whom.  A script that makes work available rings the bell, and one process of those that listen takes the ring:
its block ends, and it claims (`_rung`).  The process whose timer runs out sweeps, then claims (`_due`).  Whoever took a
ring, or told the server by ``staying`` that it keeps the time, and has nobody waiting any more, rings for the others
(`_ring`, by ``leave``): a ring is passed on, and never lost.

What happens on loss.

the connection for calls  the link sends the claim again for ten seconds, marked as sent before; the server answers it
                          from the record of the first (`records`).  Then AWAY or, before there ever was a connection,
                          an error for everybody who waits
the bell's connection     a ring may be lost with it: a claim is made after 0.2 s, or the bell rung where nobody waits
a waiter that goes        what a claim brings for it goes to the next one, or back to the head of the queue, uncounted
a wake-up, by any fault   the guard claims (`guard`)
"""

import asyncio
import collections
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from torrelque.error import (
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    no_reply,
    no_task,
    of_queue,
    reason_of,
)
from torrelque.model import TorrelqueTaskId
from torrelque.protocol.calls import Calls
from torrelque.protocol.carrying import read_spread
from torrelque.protocol.replies import Claimed, UnreadableError, read_claim, tell_troubles
from torrelque.protocol.steps import take_swept

from .bell import Bell
from .guard import Guard
from .link import Link, Request
from .records import Records
from .waiter import Delivery, Waiter

logger = logging.getLogger('torrelque')


class Fetcher:
    """Takes tasks of one queue for whoever waits for one by the same queue object.

    While anybody waits, a claim or a sweep is on its way, the bell is listened at, or a timer runs that will claim; and
    should that ever fail, the guard claims.

    ``give_back`` puts tasks for which nobody waits any more to the head of the queue, uncounted; ``reject`` buries one
    whose payload cannot be read.
    """

    def __init__(
        self,
        link: Link,
        bell: Link,
        calls: Calls,
        give_back: Callable[[Sequence[TorrelqueTaskId]], None],
        reject: Callable[[str | bytes, str, BaseException], None],
    ) -> None:
        self._link = link
        """The connection for calls."""
        self._calls = calls
        """The builders of calls, and the scripts."""
        self._bounds = calls.bounds
        """Limits and times."""
        self._loads = calls.serialiser.loads
        """Makes a task of its payload."""
        # `_give_back` is for tasks for which nobody waits, `_reject` for those whose payloads cannot be read.
        self._give_back, self._reject = give_back, reject
        self._records = Records(link, calls.keys['claim'], calls.bounds)
        """Names of the claims' records, and which of them may go."""
        self.acknowledge = self._records.acknowledge
        """Asked by each call that settles tasks: the record that it may delete in passing."""
        # `_loop` is the event loop that it belongs to, `_name` the queue's name, for messages.
        self._loop, self._name = link.loop, calls.name
        self._waiters: collections.deque[Waiter] = collections.deque()
        """The calls of `dequeue` that wait, in their order."""
        self._replies = 0
        """Claims that were answered: by it a waiter knows whether the server has replied since its call."""
        self._again = False
        """Whether the last claim had no reply, so that the next one asks for the same record."""
        self._claiming: asyncio.Future[None] | None = None
        """Done when the claim that is on its way has come back; None when none is."""
        self._since = 0.0
        """When the last claim was first made, by `time.monotonic`: the leases of its tasks hold from then on."""
        self._scheduled = False
        """Whether a claim is going to be made at the end of this turn of the loop."""
        self._crowd = False
        """Whether the last reply served several waiters, which are likely to call again in one turn."""
        self._vain = 0
        """Claims, one behind the other, that brought nothing though more was to be looked through."""
        self._stayed = False
        """Whether the last claim told the server that somebody here goes on waiting, and keeps the time."""
        self._rang = False
        """Whether the bell rang while the claim was on its way."""
        self._claim_call: Request | None = None
        """The last claim; also after its reply has come."""
        self._sweeping: Request | None = None
        """The sweep that is on its way; None when none is."""
        self._spreading: Request | None = None
        """The call that goes on with flows and is on its way; None when none is."""
        self._no_sweep_before = 0.0
        """The time of the loop before which no sweep is sent, because the last one failed."""
        self._guard = Guard(
            link.loop,
            calls.bounds,
            lambda: bool(self._waiters),
            lambda: self._claim_call,
            self._on_their_way,
            self._claim_unheard,
        )
        """Claims where nothing else has for long."""
        self._bell = Bell(bell, calls.keys['bell'], self._rung, self._guard, calls.bounds)
        """Where it blocks, over a connection of its own."""
        self._unheard = False
        """Whether the claim that is on its way is one of the guard's: what it finds, nobody was told of."""
        self._timer: asyncio.TimerHandle | None = None
        """Runs out when the next task is due or the next lease over."""
        self._error: Exception | None = None
        """Why the last claim failed, while the server is waited for; None when it is there."""
        self._closed = False
        """Whether the queue object is closed, or was collected."""

    async def fetch(self, timeout: float | None, wanted: int) -> list[Delivery]:
        """At least one task and at most ``wanted``, or `TorrelqueTimeoutError`."""
        waiter = Waiter(self._loop.create_future(), wanted, timeout, self._replies)
        if timeout is not None:
            waiter.timer = self._loop.call_later(timeout or self._bounds.grace, self._expire, waiter)
            waiter.over = not timeout
        self._waiters.append(waiter)
        if self._guard.timer is None:
            self._guard.begin()
        self._pump()
        try:
            return await waiter.future
        except BaseException:
            self._leave(waiter)
            try:
                if self._claiming is not None and waiter.future.cancelled():
                    # What the claim brings for this waiter must find its way back, even if the loop ends now.
                    await asyncio.wait([self._claiming], timeout=self._bounds.claim_closing / 4)
            finally:
                if waiter.got:
                    self._return(waiter.got)
            raise
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()

    async def close(self) -> None:
        """End all waiting with an error, and leave nothing behind."""
        self._closed = True
        for waiter in list(self._waiters):
            closed = TorrelqueClosedError('the queue was closed while this call waited for a task')
            self._resolve(waiter, of_queue(self._name, closed))
        try:
            self._collect()
            if self._claiming is not None:
                await asyncio.wait([self._claiming], timeout=self._bounds.claim_closing)
        finally:
            self.abandon()
        if self._records.number and self._link.connected:
            # The bell may have rung for the connection that was just closed; nobody would know.
            call = self._link.call(self._calls.transitions['leave'], self._calls.leave(self._records.key))
            # The event loop may end meanwhile, and then nobody else looks at the error, of which asyncio complains.
            call.add_done_callback(lambda call: call.cancelled() or call.exception())
            await asyncio.wait([call], timeout=self._bounds.claim_closing)
            if not call.done():
                call.cancel()
            elif error := call.exception():
                logger.debug('queue %r: leaving the bell failed: %s', self._name, reason_of(error))

    def abandon(self) -> None:
        """Let the connection and the timers go, where nobody waits."""
        if self._bell.call is not None and not self._closed and self._link.connected:
            self._ring()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._records.end()
        self._guard.end()
        self._bell.link.close()

    # Waiters

    def _leave(self, waiter: Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if not self._waiters and self._again:
            self._collect()
        if not self._waiters and self._timer is not None:
            # The last waiter goes, and its timer would have swept the next deadline.  Ring, so that a consumer of
            # another process sets one.
            soon = self._timer.when() - self._loop.time() <= self._bounds.block
            self._timer.cancel()
            self._timer = None
            if soon and not self._closed:
                self._ring()

    def _resolve(self, waiter: Waiter, error: Exception | None = None) -> None:
        self._leave(waiter)
        if waiter.future.done():
            return
        if waiter.got:
            waiter.future.set_result(waiter.got)
        elif error is not None:
            waiter.future.set_exception(error)

    def _expire(self, waiter: Waiter) -> None:
        if not waiter.over and (self._claiming is not None or self._error is not None or self._bell.call is None):
            # The next claim will tell whether there is no task or no reply.
            waiter.over, waiter.replies = True, self._replies
            waiter.timer = self._loop.call_later(self._bounds.grace, self._expire, waiter)
            self._pump()
        else:
            self._time_out(waiter)

    def _time_out(self, waiter: Waiter) -> None:
        silent = waiter.over and waiter.replies == self._replies
        reason = silent and (self._error or self._link.trouble)
        self._resolve(waiter, no_reply(self._name, reason) if reason else no_task(self._name, waiter.timeout))

    def _return(self, deliveries: Sequence[Delivery]) -> None:
        # Each task is put to the head of the queue, so the last is given back first.
        self._give_back([task_id for task_id, _ in reversed(deliveries)])

    # Claiming

    def _pump(self) -> None:
        """Claim, unless it is done already or nobody waits."""
        if self._claiming is None and not self._scheduled and self._waiters:
            if self._crowd:
                # Coroutines that one reply resolved will call again in this turn of the loop.  Send at its end, so that
                # one call serves them all.
                self._scheduled = True
                self._loop.call_soon(self._claim)
            else:
                self._claim()

    def _collect(self) -> None:
        """Make the last claim again where its reply was lost and nobody waits: what it took is to be given back."""
        kept = monotonic() - self._since < self._bounds.record
        if self._claiming is None and not self._waiters and self._again and kept:
            self._claim(True)

    def _claim(self, collects: bool = False) -> None:
        self._scheduled = False
        if self._claiming is not None or not (self._waiters or collects):
            return
        wanted = staying = 0
        for waiter in self._waiters:
            if waiter.timeout != 0 and not waiter.got:
                # The script is told by `staying`: if it gives fewer tasks, somebody here goes on waiting and keeps the
                # time.
                staying = wanted + 1
            wanted += waiter.wanted - len(waiter.got)
            if wanted >= self._bounds.bulk:
                break
        if not self._again:
            self._records.number += 1
            self._since = monotonic()
        self._claiming = self._loop.create_future()
        self._stayed = staying > 0
        self._rang = False
        args = self._calls.claim(self.acknowledge(), self._records.key, wanted, 0 if self._closed else staying)
        self._claim_call = Request(self._calls.transitions['claim'], args, self._claimed, resent=self._again)
        self._link.submit(self._claim_call)

    def _claimed(self, reply: Any, error: Exception | None) -> None:
        claiming, self._claiming = self._claiming, None
        if claiming is not None and not claiming.done():
            claiming.set_result(None)
        try:
            if error is not None:
                raise error
            claimed = read_claim(reply, self._since)
        except Exception as exc:
            self._failed(of_queue(self._name, exc) if isinstance(exc, TorrelqueError) else exc)
            return
        if self._error is not None:
            logger.info('queue %r: the server is back', self._name)
            self._error = None
        self._again = False
        self._replies += 1
        if claimed.troubles:
            tell_troubles(claimed.troubles, self._name)
        if claimed.tasks or claimed.foreign:
            self._records.came()
        self._hand_out(claimed)

        due = claimed.wait is not None and claimed.wait <= 0
        if self._unheard:
            self._unheard = False
            if (claimed.tasks or due) and not self._bell.endless:
                logger.warning('queue %r: it had work, and the doorbell had told nobody for some seconds', self._name)
        near = self._stayed and claimed.wait is not None and claimed.wait <= self._bounds.block
        if (self._rang or near) and not self._waiters:
            # A ring came while the claim was on its way, or the server was told that somebody here keeps the time, but
            # no waiter is left: pass it on.
            self._ring()
        if claimed.more or (self._rang and self._waiters):
            # A ring during the claim may be for a task that came after it: claim again.
            if due:
                self._sweep()
            self._vain = 0 if claimed.tasks else self._vain + 1
            self._pump() if self._vain < self._bounds.vain_claims else self._loop.call_later(0.05, self._pump)
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
        # The claim may have been carried out, so the next one asks for the same record.
        self._again = True
        lost = isinstance(error, TorrelqueConnectionError) and self._link.established
        lost = lost or isinstance(error, UnreadableError) or getattr(error, 'passing', False)
        for waiter in list(self._waiters):
            if waiter.got or not lost:
                self._resolve(waiter, error)
        if lost and not self._waiters:
            self._loop.call_later(0.5, self._collect)
        elif lost:
            if self._error is None:
                what = 'queue %r: waiting for the server to come back: %s'
                logger.warning(what, self._name, reason_of(error))
            self._error = error
            self._loop.call_later(0.1, self._pump)

    # Waiting

    def _wait(self, wait: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiters or self._closed:
            return
        if wait is not None and wait > 0:
            self._timer = self._loop.call_later(wait, self._due)
        self._bell.listen()

    def _rung(self, rang: bool, error: Exception | None) -> None:
        if self._closed:
            return
        self._rang = self._rang or self._claiming is not None
        if self._waiters:
            if error is not None:
                what = 'queue %r: the connection to the doorbell failed: %s'
                logger.debug(what, self._name, reason_of(error))
                self._loop.call_later(0.2, self._pump)
            else:
                self._pump()
        elif rang or error is not None:
            self._ring()

    def _ring(self) -> None:
        """Have somebody else take what is left, and keep the time."""
        leave = self._calls.leave(self.acknowledge())
        self._link.submit(Request(self._calls.transitions['leave'], leave, lambda reply, error: None))

    def _due(self) -> None:
        self._timer = None
        if self._waiters:
            self._sweep()

    def _sweep(self) -> None:
        if self._sweeping is None and self._loop.time() >= self._no_sweep_before:
            self._sweeping = Request(self._calls.transitions['sweep'], self._calls.sweep(), self._swept)
            self._link.submit(self._sweeping)
            # What the sweep brings back is for the waiters here, so claim right behind it, not when it has returned.
            self._pump()

    def _swept(self, reply: Any, error: Exception | None) -> None:
        self._sweeping = None
        try:
            if error is not None:
                raise error
            if take_swept(self._calls, reply):
                self._spread()
        except Exception as exc:
            logger.warning('queue %r: a sweep failed: %s', self._name, reason_of(exc))
            self._sweep_later()
        else:
            self._pump()

    def _spread(self) -> None:
        """Go on with what is to be done of flows."""
        if self._spreading is None and not self._closed:
            spread = self._calls.transitions['spread']
            self._spreading = Request(spread, self._calls.spread(), self._have_spread)
            self._link.submit(self._spreading)

    def _have_spread(self, reply: Any, error: Exception | None) -> None:
        self._spreading = None
        try:
            if error is not None:
                raise error
            if (done := read_spread(reply)).left:
                self._spread()
            self._calls.tell_out(done.out)
            self._pump()
        except Exception as exc:
            logger.warning('queue %r: a call for flows failed: %s', self._name, reason_of(exc))
            self._sweep_later()

    def _sweep_later(self) -> None:
        # Each claim would see the same due task and send the next failing call, so none is sent for a second.
        self._no_sweep_before = self._loop.time() + 0.9
        self._loop.call_later(1, self._pump)

    # The last line of defence

    def _on_their_way(self) -> tuple[tuple[Request | None, Link], ...]:
        claim = None if self._claiming is None else self._claim_call
        calls = (claim, self._sweeping, self._spreading)
        return *((call, self._link) for call in calls), (self._bell.call, self._bell.link)

    def _claim_unheard(self) -> None:
        """Claim where nobody has for long."""
        self._unheard = self._claiming is None
        self._claim()

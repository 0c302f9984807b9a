"""Tasks of one queue are taken here, for all who wait by the same queue object; the sweep timer.

A claim by script takes as many tasks as are wanted.  When there are none the shelf blocks at the doorbell, a list of
one element, on a connection of its own.  No task is ever popped by a blocking command, because it could be lost
together with the connection.  Who it is that waits, the shelf does not know: it asks its `Demand` how many tasks are
wanted and whether somebody goes on waiting without one, hands over what came, and gives back what that has no use for.

The shelf is a state machine of callbacks: no task of the event loop runs here that could be cancelled at a bad moment.
Its states:

IDLE        nobody waits; *still* where the last claim left nothing, no ring was taken since, and no time is near
CLAIMING    a claim is on its way (`claiming`)
LISTENING   the last claim left somebody waiting: the bell is listened at (`_bell.call`), and a timer runs until the
            nearest deadline (`_timer`)
AWAY        the last claim failed, and the server was there before (`_error`): everybody waits on
COLLECTING  the last claim failed and nobody waits any more, but it may have taken tasks (`_again`): it is made again
            until its reply has come, for a minute at the most, and what it brings is given back
CLOSED      nothing is claimed any more (`_closed`)

                             a call waits, and the shelf is still
     +-----------------------------------------------------------------------------+
     |         a call waits                      somebody is not served            v
    IDLE --------------------------> CLAIMING -------------------------------> LISTENING
     ^   <-- everybody is served ---  |    ^  <-- rung, block over or lost ---
     |                                |    |
     |                      it failed |    | after 0.1 s
     |  its reply has come            v    |
    COLLECTING <-------------------- AWAY -+
                nobody waits any more

A shelf is still when its last claim left nothing, and no ring was taken here since.  Whoever comes to wait then is in
the place of one that has waited since that claim, and needs none: whatever made work available since has rung, so that
the block ends that is out or is sent now, or somebody else has taken the ring, and has that work.  What is known of
deadlines is as old as that claim, so the next one is made when it is as old as a block, or at its deadline
(`join`).  The bell first and a claim then takes a round trip longer than the claim alone; so whoever comes claims
all the same, unless whoever did so last found nothing (`_found`).

Whenever the last waiter goes, by its time or because it was cancelled, the state is IDLE, but for a claim that is on
its way or in doubt.  A sweep (`sweeping`) is sent when something is due, and a claim right behind it; it belongs to no
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
import logging
import math
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Protocol

from torrelque.error import (
    ServerPermissionError,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    of_queue,
    reason_of,
)
from torrelque.model import TorrelqueTaskId
from torrelque.protocol.calls import Calls
from torrelque.protocol.replies import Claimed, UnreadableError, read_claim, tell_troubles

from .bell import Bell
from .guard import Guard
from .link import Link, Request
from .records import Records
from .sweeping import Sweeping

logger = logging.getLogger('torrelque')

Delivery = tuple[TorrelqueTaskId, Any]
"""A task that was handed out: its id, with the right to settle it, and what was enqueued."""


class Demand(Protocol):
    """Those for whom a shelf takes tasks."""

    @property
    def waiting(self) -> object:
        """True where anybody waits."""

    def wanted(self) -> tuple[int, int]:
        """How many tasks are wanted, `Bounds.bulk` or some more at the most; and the number of tasks below which
        somebody goes on waiting who has got none, and keeps the time."""
        ...

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Take what a claim has brought, which may be nothing; those tasks for which nobody waits any more."""
        ...

    def settle(self, due: bool) -> None:
        """Let those go who have got anything, for the last claim has taken all that there is.

        Where nothing is ``due``, which would be there in a moment, they too go whose time is over.
        """

    def fail(self, error: Exception, lost: bool) -> None:
        """A claim has failed; where the server is ``lost``, which may come back, those wait on who have got nothing."""


class Shelf:
    """Takes tasks of one queue for whoever waits for one.

    While anybody waits, a claim or a sweep is on its way, the bell is listened at, or a timer runs that will claim; and
    should that ever fail, the guard claims.

    ``return_tasks`` puts tasks to the head of the queue, uncounted; ``reject`` buries one whose payload cannot be read.
    Whoever makes the shelf then gives it its `demand`.
    """

    demand: Demand
    """Those for whom tasks are taken."""

    def __init__(
        self,
        link: Link,
        bell: Link,
        calls: Calls,
        return_tasks: Callable[[Sequence[TorrelqueTaskId]], None],
        reject: Callable[[str | bytes, str, BaseException], None],
    ) -> None:
        self.bounds = calls.bounds
        """Limits and times."""
        self.name = calls.name
        """The queue's name, for messages."""
        self.loop = link.loop
        """The event loop that it belongs to."""
        self.claiming: asyncio.Future[None] | None = None
        """Done when the claim that is on its way has come back; None when none is."""
        self.still = False
        """Whether the last claim left nothing, and nothing that came since is known of here."""
        self.guess = False
        """Whether the next claim is made by time alone, and is likely to bring nothing."""
        self._held = False
        """Whether a ring was taken here, and nobody has asked since."""
        self._link = link
        """The connection for calls."""
        self._calls = calls
        """The builders of calls, and the scripts."""
        self._loads = calls.serialiser.loads
        """Makes a task of its payload."""
        # `_return_tasks` is for tasks for which nobody waits, `_reject` for those whose payloads cannot be read.
        self._return_tasks, self._reject = return_tasks, reject
        self._records = Records(link, calls.keys['claim'], calls.bounds)
        """Names of the claims' records, and which of them may go."""
        self.acknowledge = self._records.acknowledge
        """Asked by each call that settles tasks: the record that it may delete in passing."""
        self._again = False
        """Whether the last claim had no reply, so that the next one asks for the same record."""
        self._since = 0.0
        """When the last claim was first made, by `time.monotonic`: the leases of its tasks hold from then on."""
        self._asked = 0.0
        """When the last claim was sent, by the loop's clock: what it told was so then, or later."""
        self._told: float | None = None
        """In what time (s) the nearest deadline was, as of then; None is none."""
        self._took = math.inf
        """How long (s) a reply takes, where nothing keeps it."""
        self._comes = False
        """Whether the next claim, or the one that is on its way, is for somebody who has just come."""
        self._found = True
        """Whether the last such claim brought anything, so that the next one is likely to."""
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
        self._sweeping = Sweeping(link, calls, self.pump)
        """Brings back what is due."""
        self._guard = Guard(
            link.loop,
            calls.bounds,
            lambda: bool(self.demand.waiting),
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
        """Runs out when the next task is due or the next lease over, or when what is known is too old."""
        self._error: Exception | None = None
        """Why the last claim failed, while the server is waited for; None when it is there."""
        self._closed = False
        """Whether the queue object is closed, or was collected."""

    @property
    def trouble(self) -> BaseException:
        """Why the server is silent, as far as that is known."""
        return self._error or self._link.trouble

    @property
    def claims(self) -> list['asyncio.Future[None]']:
        """What is done when the claim that is on its way has come back, if one is."""
        return [] if self.claiming is None else [self.claiming]

    @property
    def is_away(self) -> bool:
        """Whether the server was lost, and is asked again and again."""
        return self._error is not None

    @property
    def is_asking(self) -> bool:
        """Whether a claim will tell what there is: it is on its way, or is going to be made."""
        return self.claiming is not None or self._error is not None or self._bell.call is None

    def come(self, stays: bool) -> None:
        """Somebody has come, to wait or, where it does not stay, to see what there is."""
        if self._guard.timer is None:
            self._guard.begin()
        if stays and not self._found and self.join():
            return
        if self.claiming is None:
            self._comes = True
        self.pump()

    def join(self) -> bool:
        """Have somebody wait without a claim, where the shelf is still; whether it is."""
        old = self._asked + self.bounds.block
        self.still = self.still and self.loop.time() < old
        if self.still:
            if self._timer is None or self._timer.when() > old:
                if self._timer is not None:
                    self._timer.cancel()
                if self._told is not None and self._told <= self.bounds.block:
                    self._timer = self.loop.call_at(self._asked + self._told, self._due)
                else:
                    self._timer = self.loop.call_at(old, self._look)
            self._bell.listen()
        return self.still

    def wake(self) -> None:
        """Somebody waits who did not come for tasks of this shelf alone: listen, where it is still."""
        self._guard.begin()
        self.join()

    def quiet(self) -> None:
        """Nobody waits any more."""
        if self.demand.waiting:
            # There are others, of whom who has called does not know.
            return
        self.pass_on()
        if self._again:
            self._collect()
        if self._timer is not None:
            # The last waiter goes, and its timer would have swept the next deadline.  Ring, so that a consumer of
            # another process sets one.
            told = self._told
            soon = told is not None and self._asked + told - self.loop.time() <= self.bounds.block
            self._timer.cancel()
            self._timer = None
            if soon and not self._closed:
                self._ring()

    def pass_on(self) -> None:
        """Have others hear a ring that was taken here, if nobody has asked since."""
        if self._held and not self._closed:
            self._ring()

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Have tasks for which nobody waits any more handed out to others, uncounted, in their order."""
        self.still = False
        # Each task is put to the head of the queue, so the last is given back first.
        self._return_tasks([task_id for task_id, _ in reversed(deliveries)])

    async def close(self) -> None:
        """End all waiting with an error, and leave nothing behind."""
        self._closed = self._sweeping.closed = True
        closed = TorrelqueClosedError('the queue was closed while this call waited for a task')
        self.demand.fail(of_queue(self.name, closed), False)
        try:
            self._collect()
            if self.claiming is not None:
                await asyncio.wait([self.claiming], timeout=self.bounds.claim_closing)
        finally:
            self.abandon()
        if self._records.number and self._link.connected:
            # The bell may have rung for the connection that was just closed; nobody would know.
            call = self._link.call(self._calls.transitions['leave'], self._calls.leave(self._records.key))
            # The event loop may end meanwhile, and then nobody else looks at the error, of which asyncio complains.
            call.add_done_callback(lambda call: call.cancelled() or call.exception())
            await asyncio.wait([call], timeout=self.bounds.claim_closing)
            if not call.done():
                call.cancel()
            elif error := call.exception():
                logger.debug('queue %r: leaving the bell failed: %s', self.name, reason_of(error))

    def abandon(self) -> None:
        """Let the connection and the timers go, where nobody waits."""
        if self._bell.call is not None and not self._closed and self._link.connected:
            self._ring()
        self._closed = self._sweeping.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._records.end()
        self._guard.end()
        self._bell.link.close()

    # Claiming

    def pump(self) -> None:
        """Claim, unless it is done already or nobody waits."""
        if self.claiming is None and not self._scheduled and self.demand.waiting:
            if self._crowd:
                # Coroutines that one reply resolved will call again in this turn of the loop.  Send at its end, so that
                # one call serves them all.
                self._scheduled = True
                self.loop.call_soon(self._claim)
            else:
                self._claim()

    def ask(self) -> None:
        """Claim at once, unless it is done already or nothing is wanted."""
        self._guard.begin()
        self._claim()

    def _collect(self) -> None:
        """Make the last claim again where its reply was lost and nobody waits: what it took is to be given back."""
        kept = monotonic() - self._since < self.bounds.record
        if self.claiming is None and not self.demand.waiting and self._again and kept:
            self._claim(True)

    def _claim(self, collects: bool = False) -> None:
        self._scheduled = False
        if self.claiming is not None or not (self.demand.waiting or collects):
            return
        wanted, staying = self.demand.wanted()
        self.guess = False
        if not (wanted or self._again):
            return
        if not self._again:
            self._records.number += 1
            self._since = monotonic()
        self.claiming = self.loop.create_future()
        self._asked = self.loop.time()
        self._stayed = staying > 0
        self._rang = self._held = self.still = False
        args = self._calls.claim(self.acknowledge(), self._records.key, wanted, 0 if self._closed else staying)
        self._claim_call = Request(self._calls.transitions['claim'], args, self._claimed, resent=self._again)
        self._link.submit(self._claim_call)

    def _claimed(self, reply: Any, error: Exception | None) -> None:
        claiming, self.claiming = self.claiming, None
        if claiming is not None and not claiming.done():
            claiming.set_result(None)
        try:
            if error is not None:
                raise error
            claimed = read_claim(reply, self._since)
        except Exception as exc:
            self._failed(of_queue(self.name, exc) if isinstance(exc, TorrelqueError) else exc)
            return
        if self._error is not None:
            logger.info('queue %r: the server is back', self.name)
            self._error = None
        self._again = False
        self._told = wait = claimed.wait
        due = wait is not None and wait <= 0
        self.still = not (due or claimed.more or self._rang)
        if self._comes:
            self._comes, self._found = False, bool(claimed.tasks)
            if not self._found:
                self._took = min(self.loop.time() - self._asked, 1.25 * self._took)
        if claimed.troubles:
            tell_troubles(claimed.troubles, self.name)
        if claimed.tasks or claimed.foreign:
            self._records.came()
        self._hand_out(claimed)

        if self._unheard:
            self._unheard = False
            if (claimed.tasks or due) and not self._bell.endless:
                logger.warning('queue %r: it had work, and the doorbell had told nobody for some seconds', self.name)
        near = wait is not None and wait <= self.bounds.block
        if near and not self.demand.waiting:
            self.still = False
            if self._stayed:
                # The server was told that somebody here keeps the time, but no waiter is left.  If it was not told so,
                # the script has rung.
                self._ring()
        if claimed.more or (self._rang and self.demand.waiting):
            # A ring during the claim may be for a task that came after it: claim again.
            if due:
                self._sweeping.sweep()
            self._vain = 0 if claimed.tasks else self._vain + 1
            self.pump() if self._vain < self.bounds.vain_claims else self.loop.call_later(0.05, self.pump)
            return
        if self.demand.waiting:
            self.demand.settle(due)
        if due:
            self._sweeping.sweep()
        else:
            self._wait(wait)

    def _hand_out(self, claimed: Claimed) -> None:
        self._crowd = len(claimed.tasks) > 1
        for foreign_id, token in claimed.foreign:
            self._reject(foreign_id, token, UnicodeError('its id is not UTF-8'))
        deliveries: list[Delivery] = []
        for task_id, payload in claimed.tasks:
            try:
                deliveries.append((task_id, self._loads(payload)))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as exc:
                self._reject(task_id, task_id.token, exc)
        if surplus := self.demand.deliver(deliveries):
            self.give_back(surplus)

    def _failed(self, error: Exception) -> None:
        # The claim may have been carried out, so the next one asks for the same record.
        self._again = True
        lost = isinstance(error, TorrelqueConnectionError) and self._link.established
        lost = lost or isinstance(error, UnreadableError) or getattr(error, 'passing', False)
        self.demand.fail(error, lost)
        if lost and not self.demand.waiting:
            self.loop.call_later(0.5, self._collect)
        elif lost:
            if self._error is None:
                what = 'queue %r: waiting for the server to come back: %s'
                logger.warning(what, self.name, reason_of(error))
            self._error = error
            self.loop.call_later(0.1, self.pump)

    # Waiting

    def _wait(self, wait: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.demand.waiting or self._closed:
            return
        if wait is not None and wait > 0:
            self._timer = self.loop.call_later(wait, self._due)
        self._bell.listen()

    def _rung(self, rang: bool, error: Exception | None) -> None:
        if self._closed:
            return
        new = self.loop.time() < self._asked + self.bounds.block / 2
        if not rang and error is None and self.demand.waiting and self.still and new:
            # A claim was made while it listened.
            self.join()
            return
        self.still = False
        if rang and self.loop.time() - self._bell.since < 2 * self._took:
            # It had rung before the block began, so a claim would have found what it rang for.
            self._found = True
        self._rang = self._rang or self.claiming is not None
        self._held, self.guess = rang or error is not None, not rang
        if self.demand.waiting:
            if isinstance(error, ServerPermissionError):
                # Time does not mend it, and without the bell nobody would be woken.
                self.demand.fail(of_queue(self.name, error), False)
                self._ring()
            elif error is not None:
                what = 'queue %r: the connection to the doorbell failed: %s'
                logger.debug(what, self.name, reason_of(error))
                self.loop.call_later(0.2, self.pump)
            else:
                self.pump()
        elif rang or error is not None:
            self._ring()

    def _ring(self) -> None:
        """Have somebody else take what is left, and keep the time."""
        self._held = self.still = False
        leave = self._calls.leave(self.acknowledge())
        self._link.submit(Request(self._calls.transitions['leave'], leave, lambda reply, error: None))

    def _due(self) -> None:
        self._timer = None
        if self.demand.waiting:
            self._sweeping.sweep()
        elif not self._closed:
            self._ring()

    def _look(self) -> None:
        self._timer = None
        self.guess = True
        self.pump()

    # The last line of defence

    def _on_their_way(self) -> tuple[tuple[Request | None, Link], ...]:
        claim = None if self.claiming is None else self._claim_call
        return *((call, self._link) for call in (claim, *self._sweeping.calls)), (self._bell.call, self._bell.link)

    def _claim_unheard(self) -> None:
        """Claim where nobody has for long."""
        # Where the shelf was not still somebody was told, and did not ask because enough was to be had elsewhere.
        self._unheard = self.claiming is None and self.still
        self.guess = True
        self._claim()

"""Those who wait for tasks of many shards, and which shard is asked for them.

All calls of `dequeue` of one `Sharded` wait in one line (`Waiters`), to which the shards are one place where tasks come
from: this module.  Each shard has a shelf of its own, which claims, listens at its bell, and keeps its time (see
`aio.shelf`); here it is decided which of them claims when, and for how many.  The rules:

1. A shard that is *still* is not asked: its last claim left nothing, and its bell tells of whatever comes.  The others
   are *open*: they may have something.
2. Demand is a number.  A claim takes its share of it when it is sent, and gives back what it has not brought.  So no
   more tasks are claimed than are waited for, by all shards together, and leases begin with the work.
3. While a claim is on its way, another is sent only for `ENOUGH` tasks or more.  Else those who wait would be divided
   among the shards, more and more, until each claim is for a few.
4. Of the open shards any may be next, by chance.  Where all processes go round the shards in one order they become a
   convoy, and most servers are idle.
5. A claim that has been on its way for `SLOW` is waited for no more: its share goes back, and others are asked.  What
   it brings after all goes to whoever waits by then, or back.  So a server that is away stalls nobody.
6. When a block has ended in silence, the claim that follows wants one task and takes no share, because it is likely to
   bring nothing.
7. A shard whose bell rings while all that is wanted has been asked for elsewhere is open, and holds the ring: it is
   asked when the others bring less, and rings on when nobody waits any more (`Shelf.pass_on`).
8. When nobody has waited for `LINGER`, the shelves hand the time on.

What `dequeue` brings is of one shard, so that settling all of it is one call.
"""

import asyncio
import logging
import random
from collections.abc import Sequence

from torrelque import Torrelque, TorrelqueClosedError, TorrelqueTimeoutError

from .inside import Delivery, Shelf, Waiters, mark, marked, no_reply, no_task, shelf_of, waiters_of

logger = logging.getLogger(__package__)

ENOUGH = 25
"""For so many tasks another claim is sent while one is on its way."""
SLOW = 0.1
"""For how long (s) a claim is waited for before others are asked in its place."""
LINGER = 0.5
"""After what time (s) without anybody who waits the shelves hand the time on."""
PAUSE = 0.2
"""After what time (s) a shard is asked again whose last claim failed."""


class Stand:
    """What one shelf knows of those who wait: here, and in calls of `dequeue` of the shard itself."""

    def __init__(self, dispatcher: 'Dispatcher', number: int, shard: Torrelque) -> None:
        self.shelf: Shelf = shelf_of(shard)
        """Where the tasks of the shard come from."""
        self.number = number
        """The number of the shard."""
        self.asked = 0
        """The share of the demand that the claim on its way has taken, and has not given back."""
        self.since = 0.0
        """When that claim was sent, by the loop's clock."""
        self.error: Exception | None = None
        """Why the last claim was refused; None where it was not."""
        self.paused = False
        """Whether it is not asked for a moment, because its last claim failed."""
        self._dispatcher = dispatcher
        self._own: Waiters = waiters_of(shard)
        """Those who wait at the shard itself."""
        self.shelf.demand = self

    @property
    def is_open(self) -> bool:
        """Whether it may have something, and can be asked."""
        return not (self.shelf.still or self.paused) and self.shelf.claiming is None

    async def look(self, wanted: int) -> list[Delivery]:
        """What the shard has now."""
        deliveries = await self._own.fetch(0, wanted)
        for task_id, _ in deliveries:
            mark(task_id, self.number)
        return deliveries

    def forgo(self) -> None:
        """Others may be asked for what the claim on its way was to bring."""
        self._dispatcher.asked -= self.asked
        self.asked = 0

    # What the shelf asks and tells, see `Demand`

    @property
    def waiting(self) -> object:
        return self._dispatcher.waiters.waiting or self._own.waiting

    def wanted(self) -> tuple[int, int]:
        wanted, staying = self._own.wanted()
        share, all_wanted = self._dispatcher.take_share(self)
        return wanted + share, wanted + all_wanted if all_wanted else staying

    def deliver(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        self.forgo()
        self.error = None
        rest = self._own.deliver(deliveries)
        return self._dispatcher.hand_out(self, rest)

    def settle(self, due: bool) -> None:
        self._own.settle(due)
        self._dispatcher.waiters.settle(due)

    def fail(self, error: Exception, lost: bool) -> None:
        self.forgo()
        self._own.fail(error, lost)
        self._dispatcher.failed(self, None if lost else error)


class Dispatcher:
    """Takes tasks of some shards for whoever waits."""

    def __init__(self, shards: Sequence[Torrelque]) -> None:
        self.loop = asyncio.get_running_loop()
        """The event loop that it belongs to."""
        self.stands = [Stand(self, number, shard) for number, shard in enumerate(shards)]
        """What each shelf knows of it."""
        self.bounds = self.stands[0].shelf.bounds
        """Limits and times."""
        self.name = str(self.stands[0].shelf.name)
        """For messages."""
        self.asked = 0
        """For how many tasks claims are on their way that are waited for."""
        self.waiters = Waiters(self)
        """Those who wait."""
        self._leaving: set[asyncio.Task[list[Delivery]]] = set()
        """Calls that looked, and are coming to their end."""
        self._scheduled = False
        """Whether shards are going to be asked at the end of this turn of the loop."""
        self._crowd = False
        """Whether the last claim served several, who are likely to call again in one turn."""
        self._nap: asyncio.TimerHandle | None = None
        """Runs while nobody waits, and the shelves keep the time all the same."""
        self._watch: asyncio.TimerHandle | None = None
        """Of the next look for claims that are slow; None where none is on its way."""
        self._closed = False

    def add(self, shards: Sequence[Torrelque]) -> None:
        """Take tasks of more shards, for whoever waits already, too; those that were there are the first."""
        fresh = [Stand(self, number, shards[number]) for number in range(len(self.stands), len(shards))]
        self.stands += fresh
        if fresh and self.waiters.waiting:
            for each in fresh:
                each.shelf.wake()
            self._ask()

    async def fetch(self, timeout: float | None, wanted: int) -> list[Delivery]:
        """At least one task and at most ``wanted``, all of one shard, or `TorrelqueTimeoutError`."""
        if self._closed:
            raise TorrelqueClosedError('the queue was closed')
        if timeout == 0:
            return await self._look(wanted)
        return await self.waiters.fetch(timeout, wanted)

    async def close(self) -> None:
        """End all waiting with an error; what claims on their way bring is given back when the shards are closed."""
        self.abandon()
        self.waiters.fail(TorrelqueClosedError('the queue was closed while this call waited for a task'), False)

    def abandon(self) -> None:
        """Ask no shard any more."""
        self._closed = True
        for timer in (self._nap, self._watch):
            if timer is not None:
                timer.cancel()

    # What the line of those who wait asks and tells, as it would a shelf

    @property
    def trouble(self) -> BaseException:
        """Why a server is silent, as far as that is known."""
        sick = [stand for stand in self.stands if stand.error or stand.shelf.is_away]
        stand = (sick or self.stands)[0]
        return stand.error or stand.shelf.trouble

    @property
    def is_asking(self) -> bool:
        """Whether a claim is on its way that is waited for."""
        return self.asked > 0

    @property
    def claims(self) -> list['asyncio.Future[None]']:
        """Those claims."""
        return [stand.shelf.claiming for stand in self.stands if stand.asked and stand.shelf.claiming is not None]

    def come(self, stays: bool) -> None:
        """Somebody has come to wait."""
        if self._nap is not None:
            self._nap.cancel()
            self._nap = None
        if len(self.waiters.waiting) == 1:
            # Nobody did before.
            for stand in self.stands:
                stand.shelf.wake()
        if self._crowd:
            self._ask_soon()
        else:
            self._ask()

    def pump(self) -> None:
        """Ask a shard, though all are still: somebody's time is over, and no server has said anything in it."""
        free = [stand for stand in self.stands if stand.shelf.claiming is None and not stand.paused]
        if free:
            shelf = random.choice(free).shelf
            shelf.guess = True
            shelf.ask()

    def quiet(self) -> None:
        """Nobody waits any more."""
        for stand in self.stands:
            stand.shelf.pass_on()
        if self._nap is None and not self._closed:
            self._nap = self.loop.call_later(LINGER, self._sleep)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Have tasks of a shard handed out to others."""
        number = marked(deliveries[0][0])
        assert number is not None
        self.stands[number].shelf.give_back(deliveries)

    # What a stand asks and tells

    def take_share(self, stand: Stand) -> tuple[int, int]:
        """How many tasks a shard is asked for, 0 where it is not to be asked now, and how many are wanted in all."""
        if self._closed or not self.waiters.waiting:
            return 0, 0
        wanted, _ = self.waiters.wanted()
        if stand.shelf.guess or stand.shelf.is_away:
            return 1, wanted
        share = self._free(wanted)
        if share > 0:
            stand.asked, stand.since = share, self.loop.time()
            self.asked += share
            if self._watch is None:
                self._watch = self.loop.call_later(SLOW, self._look_for_slow)
        return share, wanted

    def hand_out(self, stand: Stand, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Give tasks of a shard to those who wait; those that are left over."""
        for task_id, _ in deliveries:
            mark(task_id, stand.number)
        self._crowd = len(deliveries) > 1
        rest = self.waiters.deliver(deliveries)
        # Who has got anything of this shard is to get nothing of another one.
        self.waiters.settle(True)
        if self.waiters.waiting:
            self._ask_soon()
        return rest

    def failed(self, stand: Stand, error: Exception | None) -> None:
        """A shard's claim has failed, by an error that says no, or by None, because the server was lost."""
        if self._closed:
            return
        if not stand.paused:
            stand.paused = True
            self.loop.call_later(PAUSE, self._try_again, stand)
        if error is not None:
            if stand.error is None:
                logger.warning('a claim at shard %d was refused: %s', stand.number, error)
            stand.error = error
            if all(each.error is not None for each in self.stands):
                self.waiters.fail(error, False)
        if self.waiters.waiting:
            self._ask_soon()

    # Asking

    def _free(self, wanted: int) -> int:
        """For how many of the tasks that are wanted a shard may be asked now: 0 is for none."""
        free = min(wanted - self.asked, self.bounds.bulk)
        return free if free >= (ENOUGH if self.asked else 1) else 0

    def _ask_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._ask)

    def _ask(self) -> None:
        """Ask open shards, as few as will do."""
        self._scheduled = False
        wanted, _ = self.waiters.wanted()
        if self._closed or not self._free(wanted):
            return
        stands = [stand for stand in self.stands if stand.is_open]
        random.shuffle(stands)
        for stand in stands:
            stand.shelf.ask()
            if not self._free(wanted):
                return

    def _look_for_slow(self) -> None:
        self._watch = None
        late = self.loop.time() - SLOW
        for stand in self.stands:
            if stand.asked and stand.since <= late:
                stand.forgo()
        if self.asked:
            self._watch = self.loop.call_later(SLOW, self._look_for_slow)
        self._ask()

    def _try_again(self, stand: Stand) -> None:
        stand.paused = False
        self._ask()

    def _sleep(self) -> None:
        self._nap = None
        for stand in self.stands:
            if not stand.waiting:
                stand.shelf.quiet()

    # Looking, without waiting

    async def _look(self, wanted: int) -> list[Delivery]:
        """What there is now: one shard after the other is asked, the open ones first, and those that are still, too.

        One that does not answer within `SLOW` is not waited for before the next is asked.
        """
        order = iter(sorted(self.stands, key=lambda stand: (not stand.is_open, random.random())))
        calls: dict[asyncio.Task[list[Delivery]], Stand] = {}
        late: set[asyncio.Task[list[Delivery]]] = set()
        found: asyncio.Task[list[Delivery]] | None = None
        stand = next(order, None)
        try:
            while found is None and (stand is not None or late):
                if stand is not None:
                    call = self.loop.create_task(stand.look(wanted))
                    calls[call] = stand
                    late.add(call)
                patience = None if stand is None else SLOW
                done, late = await asyncio.wait(late, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                found = next((call for call in done if call.exception() is None), None)
                stand = next(order, None)
        finally:
            for call in calls:
                if call is not found:
                    self._let_go(call, calls[call])
        if found is None:
            raise self._reason([error for call in calls if (error := call.exception()) is not None])
        return found.result()

    def _let_go(self, call: 'asyncio.Task[list[Delivery]]', stand: Stand) -> None:
        """Have a call that looked come to its end, and what it brings given back."""
        if not call.done():
            call.cancel()
            self._leaving.add(call)
            call.add_done_callback(self._leaving.discard)
        elif not call.cancelled() and call.exception() is None:
            stand.shelf.give_back(call.result())

    def _reason(self, errors: Sequence[BaseException]) -> BaseException:
        """Why nobody has brought a task, by what each shard has said: as long as one is silent, nobody knows."""
        if self._closed:
            return TorrelqueClosedError('the queue was closed while this call waited for a task')
        refused = [error for error in errors if not isinstance(error, TorrelqueTimeoutError)]
        silent = [error for error in errors if isinstance(error, TorrelqueTimeoutError) and not error.replied]
        if len(refused) == len(self.stands):
            return refused[0]
        if refused:
            return no_reply(self.name, refused[0])
        return silent[0] if silent else no_task(self.name, 0)

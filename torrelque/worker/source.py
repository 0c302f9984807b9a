"""Where a worker's tasks come from: one queue, several in order or by weight, and those that it serves when idle.

A burst asks for what is there now.  It ends when each of its queues has said that there is nothing, and that no pending
task will be let through by time alone or by whoever works now.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torrelque import TorrelqueConnectionError, TorrelqueQueue, TorrelqueTaskId, TorrelqueTimeoutError

from .bounds import Bounds
from .held import Held
from .places import clients_of
from .scripts import run_script
from .trace import reason

logger = logging.getLogger(__package__)

Taken = tuple[TorrelqueQueue, list[tuple[TorrelqueTaskId, Any]]]
"""A queue, and what it gave."""

PAGE = 500
"""Tasks in work that one call of the script ``outlook`` looks at; the script has the same number."""


class Source:
    """Takes tasks from the worker's own queues, and from those to ``steal`` from only when its own have none.

    Where there are ``weights``, and work everywhere, so many tasks of so many come from each; else the first queue
    that has tasks goes before all behind it.
    """

    def __init__(
        self,
        queues: Sequence[TorrelqueQueue],
        steal: Sequence[TorrelqueQueue],
        weights: Mapping[TorrelqueQueue, int] | None,
        bounds: Bounds,
    ) -> None:
        # Legend.  _credit: how many tasks of its share each queue has yet to give, for the weighted round robin.
        # _silent: for how long (s) the server of a queue has been silent, all attempts together.  _asked: when the
        # server of a queue was silent for the last time, by the event loop's clock.  _reason: the last such error.
        self._queues = queues
        self._steal = steal
        self._weights = weights
        self._bounds = bounds
        self._credit = dict.fromkeys(queues, 0)
        self._silent: dict[TorrelqueQueue, float] = {}
        self._asked: dict[TorrelqueQueue, float] = {}
        self._reason: TorrelqueTimeoutError | None = None
        self.patience: float | None = None
        """After what time (s) a call that waits for tasks is made anew, where `answered` is asked for; None is never.
        """
        self.answered: float | None = None
        """When a claim was answered last, by the event loop's clock; where there is a `patience`."""
        self.looks_out = True
        """Whether a burst waits for tasks that are not to be had now, but will be without anybody's doing."""

    @property
    def queues(self) -> tuple[TorrelqueQueue, ...]:
        """The worker's own queues, and those to steal from."""
        return (*self._queues, *self._steal)

    async def ready(self) -> None:
        """See to it that it is known where the queues are."""
        for queue in self.queues:
            await queue.ready()

    async def take(self, count: int, wait: bool) -> list[Taken]:
        """Tasks, ``count`` at the most.  No tasks mean that nothing is left for a burst, which does not ``wait``.

        :raises TorrelqueConnectionError: of a burst: the server of a queue gave no reply for some ten seconds.

        A call that is cancelled loses nothing.
        """
        if wait and len(self._queues) == 1 and not self._steal:
            if self.patience is None:
                return [await _dequeue(self._queues[0], None, count)]
            return [await self._dequeue_patiently(self._queues[0], self.patience, count)]
        while True:
            taken = await self._take_now(count, wait)
            if taken:
                return taken
            if wait:
                others = [queue for queue in self.queues if not self._is_spared(queue)]
                if not others or len(others) == len(self.queues):
                    if taken := await _wait_for_any(self.queues, count, self.patience):
                        return taken
                    continue
                if taken := await _wait_for_any(others, count, self._bounds.spare):
                    return taken
                continue
            self._check_silence()
            if self._silent:
                continue
            if not self.looks_out or not await self._has_prospects():
                return []
            if taken := await _wait_for_any(self.queues, count, self._bounds.prospect):
                return taken

    async def _dequeue_patiently(self, queue: TorrelqueQueue, patience: float, count: int) -> Taken:
        """Wait for tasks, and note meanwhile that the server answers."""
        while True:
            # The first answer is not waited for: until it is there nobody knows whether there is a server.
            timeout = 0 if self.answered is None else patience
            try:
                taken = await _dequeue(queue, timeout, count)
            except TorrelqueTimeoutError as exc:
                if exc.replied:
                    self._heard(queue)
                continue
            self._heard(queue)
            return taken

    async def _take_now(self, count: int, spare: bool) -> list[Taken]:
        """Tasks that are there now.  With ``spare``, a queue whose server has just been silent is not asked, so that
        the others need not wait for it."""
        taken: list[Taken] = []
        try:
            if self._weights is not None:
                count -= await self._share(count, taken, spare)
            for queue in self.queues:
                if count <= 0 or queue in self._steal and taken:
                    break
                count -= await self._add(queue, count, taken, spare)
        except BaseException:
            await give_back(taken)
            raise
        return taken

    async def _add(self, queue: TorrelqueQueue, count: int, taken: list[Taken], spare: bool) -> int:
        """Take tasks of a queue that are there now; how many."""
        clock = asyncio.get_running_loop().time
        began = clock()
        if spare and self._is_spared(queue):
            return 0
        try:
            some = await _dequeue(queue, 0, count)
        except TorrelqueTimeoutError as exc:
            if exc.replied:
                self._heard(queue)
            else:
                silence = min(clock() - began, self._bounds.silent_attempt)
                self._silent[queue] = self._silent.get(queue, 0) + silence
                self._asked[queue] = clock()
                self._reason = exc
            return 0
        self._heard(queue)
        taken.append(some)
        return len(some[1])

    def _heard(self, queue: TorrelqueQueue) -> None:
        """The server of a queue has answered.  Queues of the same client are likely to have the same server, so they
        are asked again, too."""
        self.answered = asyncio.get_running_loop().time()
        self._silent.pop(queue, None)
        if self._asked:
            known = {*clients_of(queue)}
            self._asked = {one: since for one, since in self._asked.items() if {*clients_of(one)} - known}

    def _is_spared(self, queue: TorrelqueQueue) -> bool:
        """Whether the server of a queue was silent a moment ago, and is not asked again yet."""
        since = self._asked.get(queue)
        return since is not None and asyncio.get_running_loop().time() < since + self._bounds.spare

    def _check_silence(self) -> None:
        for queue, silence in self._silent.items():
            if silence >= self._bounds.silence:
                why = f'whether queue {queue.name!r} has tasks could not be found out for {silence:.0f} s'
                cause = self._reason
                raise TorrelqueConnectionError(f'{why}: {cause and reason(cause, queue.name)}') from cause

    async def _has_prospects(self) -> bool:
        """Whether tasks are pending that will be handed out without anybody's doing."""
        for shard in (shard for queue in self.queues for shard in queue.shards):
            keys, passed = (shard.keys['pending'], shard.keys['never']), 0
            while (answer := await run_script(shard, 'outlook', keys, passed)) == b'look on':
                passed += PAGE
            if answer == b'yes':
                return True
        return False

    async def _share(self, count: int, taken: list[Taken], spare: bool) -> int:
        """Take of each queue what its weight says, by a weighted round robin: the queue with the highest credit is
        next.
        """
        assert self._weights is not None
        shares = dict.fromkeys(self._queues, 0)
        whole = sum(self._weights.values())
        for _ in range(count):
            for queue, weight in self._weights.items():
                self._credit[queue] += weight
            chosen = max(self._credit, key=lambda queue: self._credit[queue])
            self._credit[chosen] -= whole
            shares[chosen] += 1
        got = 0
        for queue, share in shares.items():
            if share:
                got += await self._add(queue, share, taken, spare)
        return got


async def give_back(taken: Sequence[Taken]) -> None:
    """Give tasks back that were not begun, uncounted, so that they are at the head of their queue in their order.

    Each goes to the head, so the last is given back first.
    """
    calls = [queue.requeue(task_id, forgive=True) for queue, tasks in reversed(taken) for task_id, _ in reversed(tasks)]
    await asyncio.shield(asyncio.gather(*calls, return_exceptions=True))


async def give_back_unwilling(unwilling: Sequence[Held], worker: str) -> None:
    """Give tasks back whose handlers were cancelled, and go on all the same."""
    if unwilling:
        logger.warning('%d handlers of %s do not end; their tasks are given back', len(unwilling), worker)
        for held in unwilling:
            held.settle()
            held.book()
            held.end_as('returned')
            held.tell()
        await give_back([(held.delivery.queue, [(held.delivery.id, None)]) for held in unwilling])


async def _dequeue(queue: TorrelqueQueue, timeout: float | None, count: int) -> Taken:
    return queue, await queue.dequeue_many(count, timeout)


async def _wait_for_any(queues: Sequence[TorrelqueQueue], count: int, timeout: float | None = None) -> list[Taken]:
    """Wait until one of the queues has a task; others may have one in the same moment.  Nothing, when time is over."""
    calls = [asyncio.ensure_future(_dequeue(queue, timeout, 1)) for queue in queues]
    cancelled = False
    try:
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        cancelled = True
    ending = asyncio.ensure_future(_end(calls))
    while not ending.done():
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError:
            # A call may have taken a task before it was cancelled, so wait for all of them; the task is given back
            # below.
            cancelled = True
    taken, errors = ending.result()
    if cancelled:
        await give_back(taken)
        raise asyncio.CancelledError
    if not taken and (failures := [error for error in errors if not isinstance(error, TorrelqueTimeoutError)]):
        raise failures[0]
    surplus = taken[count:]
    if surplus:
        try:
            await give_back(surplus)
        except asyncio.CancelledError:
            await give_back(taken[:count])
            raise
    return taken[:count]


async def _end(calls: Sequence['asyncio.Future[Taken]']) -> tuple[list[Taken], list[BaseException]]:
    """Cancel the calls, which give back what comes for them from now on; what calls had taken before, and errors."""
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    ended = [call for call in calls if not call.cancelled()]
    errors = [error for call in ended if (error := call.exception())]
    return [call.result() for call in ended if not call.exception()], errors

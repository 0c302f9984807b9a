"""Calls for many tasks: which shard takes which, and in what order."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torrelque import (
    Duration,
    Torrelque,
    TorrelqueBulkError,
    TorrelqueConnectionError,
    TorrelqueFullError,
    TorrelqueServerError,
    TorrelqueTaskId,
    TorrelqueTypeError,
)
from torrelque.protocol.check import check_ids

from . import inside, shards
from .choose import STICK
from .placing import Placing

KEYED = 50
"""So many tasks with groups are sent to a shard together."""
REMEMBERED = 10_000
"""So many tasks that were settled are remembered at the most, where others of the same call were not."""


class Options(NamedTuple):
    """What is said of all tasks of a call of ``Sharded.enqueue_many``."""

    lease: Duration
    delay: Duration | None
    max_attempts: int | None
    group: str | Callable[[Any], str | None] | None
    priority: int | Callable[[Any], int]

    async def send(
        self, shard: Torrelque, tasks: Any, group: str | Callable[[Any], str | None] | None
    ) -> list[TorrelqueTaskId]:
        """Have a shard take tasks."""
        return await shard.enqueue_many(
            tasks, task_timeout=self.lease, delay=self.delay, max_attempts=self.max_attempts, group=group,
            priority=self.priority,
        )  # fmt: skip


Sent = tuple[list[TorrelqueTaskId], BaseException | None]
"""Ids of the first tasks of a run, those that are in, and why the others are not, if there are some."""


async def enqueue_all(
    queue: Placing, tasks: Iterable[Any] | AsyncIterable[Any], options: Options
) -> list[TorrelqueTaskId]:
    """Enqueue all tasks; `TorrelqueBulkError` when that fails on the way."""
    await queue.ready()
    # Refuses options that cannot be meant, and sends nothing.
    await options.send(queue.home, (), options.group)
    if not isinstance(tasks, (AsyncIterable, Iterable)):
        raise TorrelqueTypeError(f'tasks must be an iterable or an async iterable, not {type(tasks).__name__}')
    sender = _Plain(queue, options) if options.group is None else _Keyed(queue, options)
    source = _Source(tasks)
    try:
        async with contextlib.aclosing(source.read()) as reading:
            async for task in reading:
                await sender.add(task)
        # Tasks that were taken from an iterable that failed would be lost to its owner, so they are sent.
        await sender.finish()
        if source.error is not None:
            raise source.error
    except Exception as exc:
        raise TorrelqueBulkError([*sender.task_ids], queue.name) from exc
    finally:
        await sender.stop()
    return [*sender.task_ids]


class _Source:
    """Tasks as they are taken from an iterable, whose error is kept, so that it is told from those of sending."""

    def __init__(self, tasks: Iterable[Any] | AsyncIterable[Any]) -> None:
        self._tasks = tasks
        self.error: Exception | None = None

    async def read(self) -> AsyncGenerator[Any, None]:
        tasks = self._tasks
        own = aiter(tasks) if isinstance(tasks, AsyncIterable) else None
        plain = iter(()) if isinstance(tasks, AsyncIterable) else iter(tasks)
        while True:
            try:
                task = next(plain) if own is None else await anext(own)
            except (StopIteration, StopAsyncIteration):
                return
            except Exception as exc:
                self.error = exc
                return
            yield task


class _Plain:
    """Sends tasks without groups, in runs: one is on its way while the next is begun."""

    def __init__(self, queue: Placing, options: Options) -> None:
        self._queue, self._options = queue, options
        self.task_ids: list[TorrelqueTaskId] = []
        """Ids of the tasks that are known to be in, without gaps."""
        self._run: list[Any] = []
        self._away: asyncio.Future[Sent] | None = None

    async def add(self, task: Any) -> None:
        self._run.append(task)
        if len(self._run) >= STICK:
            await self._send()

    async def finish(self) -> None:
        if self._run:
            await self._send()
        away, self._away = self._away, None
        if away is not None:
            await self._settle(away)

    async def stop(self) -> None:
        away, self._away = self._away, None
        if away is not None:
            away.cancel()
            await asyncio.wait([away])

    async def _send(self) -> None:
        run, self._run = self._run, []
        before, self._away = self._away, asyncio.ensure_future(send_run(self._queue, self._options, run))
        # It is made and written now, while the one before is on its way.
        await asyncio.sleep(0)
        if before is not None:
            await self._settle(before)

    async def _settle(self, run: 'asyncio.Future[Sent]') -> None:
        try:
            task_ids, error = await run
        except asyncio.CancelledError:
            run.cancel()
            raise
        self.task_ids += task_ids
        if error is not None:
            # Those of the run behind it are in as well, or not; but nothing goes on when this call is over.
            if self._away is not None:
                await asyncio.wait([self._away])
            self._away, self._run = None, []
            raise error


async def send_run(queue: Placing, options: Options, run: Sequence[Any]) -> Sent:
    """Have some tasks without groups taken by a shard, or by several where one is full or takes no writes."""
    task_ids: list[TorrelqueTaskId] = []

    async def send(shard: Torrelque) -> None:
        try:
            task_ids.extend(await options.send(shard, run[len(task_ids) :], None))
        except TorrelqueBulkError as exc:
            task_ids.extend(map(TorrelqueTaskId, exc.task_ids))
            cause = exc.__cause__
            if isinstance(cause, TorrelqueFullError) or inside.is_untouched(cause):
                raise cause from None
            raise

    try:
        await queue._anywhere(send, fresh=True)
    except TorrelqueBulkError as exc:
        return task_ids, exc.__cause__
    except Exception as exc:
        return task_ids, exc
    return task_ids, None


class _Keyed:
    """Sends tasks to the shards of their groups; of each shard one call is on its way at a time, which keeps the order
    within the groups.

    Which go together is decided by the map that there was at first; where groups come to other shards meanwhile, those
    of one call may be for several.
    """

    def __init__(self, queue: Placing, options: Options) -> None:
        self._queue, self._options = queue, options
        self._keyed, alone = queue._shape.keyed, isinstance(options.group, str)
        self._most = STICK if alone else KEYED
        self._count = 0
        self._waiting: dict[int | None, list[tuple[int, Any, str | None]]] = {}
        """Tasks that are not sent yet by the number of their shard, None being any: number, task and group."""
        self._away: dict[int | None, asyncio.Future[Exception | None]] = {}
        """The call of each shard that is on its way."""
        self._ids: dict[int, TorrelqueTaskId] = {}
        """Ids by the number of the task."""

    @property
    def task_ids(self) -> list[TorrelqueTaskId]:
        """Ids of the tasks that are known to be in."""
        return [self._ids[number] for number in sorted(self._ids)]

    async def add(self, task: Any) -> None:
        group_of: Any = self._options.group
        try:
            group = group_of if isinstance(group_of, str) else group_of(task)
            shard = None if group is None else shards.of_group(group, self._keyed)
        except Exception:
            await self.finish()
            raise
        waiting = self._waiting.setdefault(shard, [])
        waiting.append((self._count, task, group))
        self._count += 1
        if len(waiting) >= self._most:
            await self._send(shard)

    async def finish(self) -> None:
        for shard in [*self._waiting]:
            await self._send(shard)
        for shard in [*self._away]:
            await self._settle(shard)

    async def stop(self) -> None:
        away, self._away = [*self._away.values()], {}
        for call in away:
            call.cancel()
        if away:
            await asyncio.wait(away)

    async def _send(self, shard: int | None) -> None:
        await self._settle(shard)
        some = self._waiting.pop(shard, [])
        if some:
            self._away[shard] = asyncio.ensure_future(self._call(shard, some))
            await asyncio.sleep(0)

    async def _settle(self, shard: int | None) -> None:
        away = self._away.get(shard)
        if away is not None and (error := await away) is not None:
            self._waiting.clear()
            await asyncio.wait(self._away.values())
            self._away.clear()
            raise error
        self._away.pop(shard, None)

    async def _call(self, shard: int | None, some: Sequence[tuple[int, Any, str | None]]) -> Exception | None:
        error: Any = None
        if shard is None:
            task_ids, error = await send_run(self._queue, self._options, [task for _, task, _ in some])
            self._ids.update(zip([number for number, _, _ in some], task_ids, strict=False))
            return error  # type: ignore[no-any-return]
        try:
            await self._queue._heeding(lambda: self._send_keyed(some))
        except Exception as exc:
            error = exc
        return error  # type: ignore[no-any-return]

    async def _send_keyed(self, some: Sequence[tuple[int, Any, str | None]]) -> None:
        """Send those that are not in, to the shards that have their groups now."""
        queue = self._queue
        by_shard: dict[int, list[tuple[int, Any, Any]]] = {}
        for number, task, group in some:
            if number not in self._ids:
                assert group is not None
                its_shard = by_shard.setdefault(queue._number_of_group(group), [])
                its_shard.append((number, task, queue._routed(group)))
        for shard, its in by_shard.items():
            groups = iter([group for _, _, group in its])
            task_ids: list[Any] = []
            try:
                # The caller's function is asked once for each task.
                of_all = self._options.group if isinstance(self._options.group, str) else None
                its_group: Any = its[0][2] if of_all is not None else lambda _, groups=groups: next(groups)
                task_ids = await self._options.send(await queue._at(shard), [task for _, task, _ in its], its_group)
            except TorrelqueBulkError as exc:
                task_ids = [*map(TorrelqueTaskId, exc.task_ids)]
                raise (exc.__cause__ or exc) from None
            finally:
                self._ids.update(zip([number for number, _, _ in its], task_ids, strict=False))


async def settle_all(
    queue: Placing, verb: str, task_ids: Iterable[str], call: Callable[[Torrelque, list[str]], Awaitable[list[bool]]]
) -> list[bool]:
    """Release or touch tasks, at all shards of them at once; for each whether it was done, in their order."""
    ids = check_ids(task_ids)
    done: dict[int, bool] = {}
    memory = queue._settled
    if memory:
        for place, task_id in enumerate(ids):
            if (known := memory.pop((verb, task_id, getattr(task_id, 'token', '')), None)) is not None:
                done[place] = known
    left = [place for place in range(len(ids)) if place not in done]
    by_shard = await queue._by_shard([ids[place] for place in left])

    async def settle(number: int, places: Sequence[int]) -> None:
        own = [left[place] for place in places]
        found = await call(await queue._at(number), [ids[place] for place in own])
        done.update(zip(own, found, strict=True))

    failed = [
        error for error in await asyncio.gather(*itertools.starmap(settle, by_shard.items()), return_exceptions=True)
        if error is not None
    ]  # fmt: skip
    if failed:
        if verb == 'release' and isinstance(failed[0], (TorrelqueConnectionError, TorrelqueServerError)):
            # The error hides what became of the others; whoever repeats the call is to be told that they are done.
            for place, was_done in done.items():
                memory[verb, ids[place], getattr(ids[place], 'token', '')] = was_done
            for key in [*itertools.islice(memory, max(0, len(memory) - REMEMBERED))]:
                del memory[key]
        raise failed[0]
    return [done[place] for place in range(len(ids))]

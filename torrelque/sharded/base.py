"""What a queue with shards has beneath its verbs: the map, read at first use, and the ways to one shard or to all."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import Any, TypeVar

import redis.asyncio
import redis.asyncio.client
import redis.asyncio.cluster

from torrelque import (
    Torrelque,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueSerialiser,
    TorrelqueServerError,
    TorrelqueTypeError,
)

from . import common, inside, shards
from .choose import Chooser
from .common import Common
from .dispatch import Dispatcher
from .shards import Ask, Shape

logger = logging.getLogger(__package__)

Client = redis.asyncio.Redis | redis.asyncio.RedisCluster
Pipeline = redis.asyncio.client.Pipeline | redis.asyncio.cluster.ClusterPipeline
T = TypeVar('T')


class Base(Common, TorrelqueQueue):
    """The shards of a queue object."""

    def __init__(
        self,
        client: Client | Sequence[Client],
        queue: str,
        serialiser: TorrelqueSerialiser,
        max_tasks: int | None,
        count: int | None,
    ) -> None:
        # The initialiser of the core's class would make keys for a queue of this name alone, which has none.
        self.name = shards.check_queue(queue)
        self.client = client
        self.serialiser = serialiser
        self.max_tasks = max_tasks
        alone = not isinstance(client, (list, tuple))
        self._clients: list[Any] = [client] if alone else [*client]  # type: ignore[misc]
        """The clients, each of a server, or the one of a Cluster."""
        self._cluster = alone and isinstance(client, redis.asyncio.RedisCluster)
        """Whether the shards are in a Cluster, and not on unrelated servers."""
        if not self._cluster:
            shards.check_clients(self._clients, redis.asyncio.RedisCluster)
        self._count = shards.check_shards(count)
        """How many shards there are to be; None is as many as there are."""
        self._default = shards.DEFAULT if alone else len(self._clients)
        """How many there are where nobody has said how many."""
        for each in self._clients:
            # It checks what was given, and sends nothing.
            Torrelque(each, queue=queue, serialiser=serialiser, max_tasks=max_tasks)
        self._shards: tuple[Torrelque, ...] = ()
        """The shards, once the map was read."""
        self._shape: Any = None
        """The map, likewise."""
        self._unproven: set[int] = set()
        """Shards on servers that were away when the map was read: whether these are the right ones is not known yet."""
        self._opening: asyncio.Task[tuple[Torrelque, ...]] | None = None
        """Reads the map, for all who wait for it."""
        self._chooser = Chooser(0, self._is_up)
        """Chooses shards for plain tasks."""
        self._probes: dict[int, asyncio.Task[None]] = {}
        """Look whether shards are there again; meanwhile nothing is sent to these but what has no other place."""
        self._refusing: dict[int, asyncio.Task[None]] = {}
        """Look whether shards take writes again that have refused a task; meanwhile no plain tasks go to these."""
        self._warned: dict[int, float] = {}
        """When the log was last told that they refuse."""
        self._known: set[int] = set()
        """Shards that were there when something that any can do was to be sent to them first."""
        self._greetings: dict[int, asyncio.Future[None]] = {}
        """Calls on their way to others."""
        self._dispatcher: Dispatcher | None = None
        """Where those wait who take tasks; None until somebody does."""
        self._settled: dict[tuple[str, str, str], bool] = {}
        """What became of tasks in a call for many that has failed at other shards: by verb, id and token."""
        self._siblings: dict[str, TorrelqueQueue] = {}
        self._sweeping: asyncio.Task[None] | None = None
        """Begins to sweep, once the shards are known."""
        self._low: Callable[[list[str]], object] | None = None
        """Is told of schedules that have few instants left."""
        self._fenced: set[tuple[int, int]] = set()
        """Shards that are known to refuse who goes by fewer than so many, with that number."""
        self._known_until = float('inf')
        """When the map has not been read for so long that it is read before anything is sent to any shard."""
        self._closed = False

    # What is known

    @property
    def keys(self) -> dict[str, str]:  # type: ignore[override]
        """Full names of the keys of the ``home`` shard, where there is what the queue has once.

        :raises TorrelqueError: as of ``shards``.
        """
        return self.home.keys

    @property
    def shards(self) -> tuple[Torrelque, ...]:
        """The shards, by their numbers, each a whole queue: for whoever asks each for itself.

        :raises TorrelqueError: they are not known yet, because nothing was asked of the queue so far, nor ``ready``.
        """
        if not self._shards:
            raise self._told(TorrelqueError('the shards are not known yet: await ready() first'))
        return self._shards

    @property
    def home(self) -> Torrelque:
        """The first shard, where there is what the queue has once: its schedules, and what layers keep.

        :raises TorrelqueError: as of ``shards``.
        """
        return self.shards[0]

    def shard_of(self, task_id: str | None = None, group: str | None = None) -> Torrelque:
        """Which shard has the tasks of a group, or a task; with both, the task of that group.

        Its name is the hash tag of its slot in a Cluster, for keys of the caller's own that are to be in a transaction
        with a task.  An id of the caller's own that was enqueued with a group is where its group is, so say both.

        :raises TorrelqueError: as of ``shards``.
        """
        found = self.shards
        if group is not None:
            return found[self._number_of_group(group)]
        if task_id is None:
            raise TorrelqueTypeError('shard_of takes the id of a task or a group')
        return found[self._number_of_id(task_id)[0]]

    async def ready(self) -> None:
        """See to it that ``shards`` are known: read the map of the queue, or write it where there is none.

        :raises TorrelqueValueError: the queue has another number of shards, or its servers are others than those that
            were given, or in another order; nothing else was sent.
        """
        if not self._shards:
            await self._open()

    def _shuffled(self) -> list[Torrelque]:
        """The shards in any order, those first that are there as far as is known."""
        order = random.sample(range(len(self._shards)), len(self._shards))
        return [self._shards[number] for number in sorted(order, key=lambda number: not self._is_up(number))]

    # Opening

    async def _open(self) -> tuple[Torrelque, ...]:
        """The shards, once the map was read."""
        if self._closed:
            raise self._told(TorrelqueClosedError('the queue was closed'))
        opening = self._opening
        if opening is None or opening.done():
            opening = self._opening = asyncio.ensure_future(self._read_map())
            # Whoever waits is told; where nobody does any more, the error is for nobody.
            opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        elif opening.get_loop() is not asyncio.get_running_loop():
            what = 'a queue object belongs to the event loop it was first used in; make one for each'
            raise self._told(TorrelqueError(what))
        await asyncio.wait([opening])
        if opening.cancelled():
            raise self._told(TorrelqueClosedError('the queue was closed'))
        return opening.result()

    async def _read_map(self) -> tuple[Torrelque, ...]:
        name, count, default = self.name, self._count, self._default
        if self._cluster:
            opened = await self._drive(shards.open_cluster(name, count, default), hasty=2)
        else:
            opened = await self._drive(shards.open_servers(name, len(self._clients), count, default), hasty=1)
        shape = opened.shape
        found = tuple(self._make_shard(shape, number) for number in range(len(shape.tags)))
        self._unproven = {number for number in range(len(found)) if shape.server_of(number) in opened.away}
        self._chooser = Chooser(len(found), self._is_up)
        self._shape, self._shards = shape, found
        found[0].when_low = self._low
        return found

    async def _read_copies(self) -> Shape | None:
        """The newest map that a primary of a Cluster has a copy of, whoever else is away."""
        return await self._drive(shards.read_copy(self.name, self._count or self._default), hasty=1)

    def _make_shard(self, shape: Shape, number: int) -> Torrelque:
        most = None if self.max_tasks is None else -(-self.max_tasks // len(shape.tags))
        client, queue = self._clients[shape.server_of(number)], shards.queue_of(shape.tags[number])
        shard = Torrelque(client, queue=queue, serialiser=self.serialiser, max_tasks=most)
        shard.task_timeout, shard.result_ttl = self.task_timeout, self.result_ttl
        shard.sweep_interval = self.sweep_interval
        inside.end_ids(shard, shards.suffix_of(number))
        # All belong to one event loop, and not each to that in which it happens to be chosen first.
        inside.bind(shard)
        return shard

    async def _drive(self, steps: Generator[Sequence[Ask], list[Any], T], hasty: int = 0) -> T:
        """Ask the servers what a generator says; what it comes to.

        :param hasty: how many of the first rounds do without those that do not answer soon, where others tell the map.
        """
        asked_by: dict[tuple[int, str], Torrelque] = {}

        async def ask(server: int, queue: str, words: Sequence[str]) -> Any:
            if (server, queue) not in asked_by:
                asked_by[server, queue] = asked = Torrelque(self._clients[server], queue=queue)
                inside.end_ids(asked, shards.suffix_of(shards.number_in(queue) or 0))
            return await asked_by[server, queue].command(*words)

        replies: Any = None
        try:
            while True:
                asked = steps.send(replies)
                replies = await self._gather([ask(*one) for one in asked], hasty > 0)
                hasty -= 1
        except StopIteration as over:
            result: T = over.value
            return result
        finally:
            await _close(asked_by.values())

    async def _gather(self, calls: Iterable[Awaitable[Any]], hasty: bool) -> list[Any]:
        """The replies to some calls, or the errors that came in their stead."""
        asked = [*map(asyncio.ensure_future, calls)]
        try:
            done, late = await asyncio.wait(asked, timeout=common.PATIENCE if hasty else None)
            told = [call for call in done if not call.exception() and isinstance(call.result(), bytes)]
            # In a Cluster the map is asked for elsewhere next.
            if late and (told or self._cluster and len(asked) == 1):
                for call in late:
                    call.cancel()
            replies = await asyncio.gather(*asked, return_exceptions=True)
        finally:
            for call in asked:
                call.cancel()
        silent = TorrelqueConnectionError(f'no answer in {common.PATIENCE:g} s')
        return [self._told(silent) if isinstance(reply, asyncio.CancelledError) else reply for reply in replies]

    async def _prove(self, number: int) -> None:
        """Have it known that the server of a shard is the right one, now that it may be there."""
        server = self._shape.server_of(number)
        await self._drive(shards.prove_server(self.name, server, self._shape))
        self._unproven -= {one for one in self._unproven if self._shape.server_of(one) == server}

    # To one shard

    async def _at(self, number: int) -> Torrelque:
        """A shard, to which something is to be sent that has no other place."""
        if number in self._unproven:
            await self._prove(number)
        return self._shards[number]

    async def _of_group(self, group: str) -> Torrelque:
        if not self._shards:
            await self._open()
        return await self._at(self._number_of_group(group))

    async def _holder(self, task_id: str) -> Torrelque:
        """The shard that has a task: where its id does not tell, all are asked; where none has it, any that would."""
        if not self._shards:
            await self._open()
        number, certain = self._number_of_id(task_id)
        if certain or len(self._shards) == 1:
            return await self._at(number)

        async def find(shard: Torrelque) -> Torrelque:
            await shard.get_task_state(task_id)
            return shard

        try:
            return await self._seek(task_id, find)
        except TorrelqueLookupError:
            return self._shards[number]

    async def _seek(self, task_id: str, ask: Callable[[Torrelque], Awaitable[T]]) -> T:
        """Ask where an id says, else everywhere: an id of a caller's own is where the group is that it came with."""
        found = self._shards or await self._open()
        number, certain = self._number_of_id(task_id, now=True)
        try:
            return await ask(await self._at(number))
        except TorrelqueLookupError:
            if certain:
                raise
            error: Exception = self._told(shards.no_task_in(task_id, len(found)))

        async def ask_at(other: int) -> T:
            return await ask(await self._at(other))

        asked = [asyncio.ensure_future(ask_at(other)) for other in range(len(found)) if other != number]
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    return await answer
                except TorrelqueLookupError:
                    pass
                except TorrelqueConnectionError as exc:
                    # It may be there: that nobody else has it is no answer.
                    error = exc
            raise error
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    # Whether shards are there

    async def _catch_up(self) -> None:
        """Have the map be the newest, as far as it can be read."""

    def _is_up(self, number: int) -> bool:
        """Whether a shard is there, as far as is known; if it is not, somebody looks when it is there again."""
        if number in self._probes:
            return False
        if number not in self._unproven and inside.is_up(self._shards[number]):
            return True
        self._look_after(number)
        return False

    def _look_after(self, number: int) -> None:
        if number not in self._probes and not self._closed:
            self._probes[number] = asyncio.ensure_future(self._probe(number))

    async def _probe(self, number: int) -> None:
        """Come to an end when a shard is there again.

        A connection is made for what is to be sent only, so somebody has to send something.  It is about a key, because
        a primary that has just come back to its Cluster answers, and still refuses whatever is about one.
        """
        warned = False
        try:
            while not self._closed:
                try:
                    shard = await self._at(number)
                    await shard.command('GET', shards.key_of(shard.name))
                    return
                except TorrelqueConnectionError:
                    # It was tried for some ten seconds.
                    pass
                except TorrelqueError as exc:
                    if not warned:
                        warned = True
                        why = inside.reason_of(exc)
                        logger.warning('queue %r: no tasks go to shard %d: %s', self.name, number, why)
                    await asyncio.sleep(common.AGAIN)
        finally:
            self._probes.pop(number, None)

    # To all shards

    async def _everywhere(self, call: Callable[[Torrelque], Awaitable[T]], changes: bool = False) -> list[T]:
        """Carry something out at all shards at once; what each says, by their numbers.

        :param changes: whether shards that come later have to go by it, too (`grow`).

        Where it fails at some, the error says at which; to repeat it is harmless.
        """
        numbers = range(len(self._shards or await self._open()))
        done = await asyncio.gather(*(self._soon(number, call) for number in numbers), return_exceptions=True)
        failed = {number: exc for number, exc in enumerate(done) if isinstance(exc, BaseException)}
        if failed:
            raise self._partly(failed, len(numbers))
        return done  # type: ignore[return-value]

    async def _soon(self, number: int, call: Callable[[Torrelque], Awaitable[T]]) -> T:
        """Carry out at a shard what is carried out at others as well.

        One that gives no sign of life, where another does, is waited for no more: whether it was done there is unknown,
        and it may be done in the next ten seconds.
        """
        async def call_it() -> T:
            return await call(await self._at(number))

        asked = asyncio.ensure_future(call_it())
        try:
            while True:
                await asyncio.wait([asked], timeout=common.PATIENCE)
                if asked.done():
                    return asked.result()
                if await self._lives(number):
                    continue
                others = (self._lives(other) for other in range(len(self._shards)) if other != number)
                if any(await asyncio.gather(*others)) and not asked.done():
                    self._look_after(number)
                    raise self._told(TorrelqueConnectionError(f'shard {number}: no answer in {common.PATIENCE:g} s'))
        finally:
            asked.cancel()

    async def _lives(self, number: int) -> bool:
        """Whether a shard gives a sign of life soon."""
        if not inside.is_up(self._shards[number]):
            return False
        try:
            await asyncio.wait_for(self._shards[number].command('PING'), common.PATIENCE)
        except (asyncio.TimeoutError, TorrelqueConnectionError):
            return False
        except TorrelqueError:
            pass
        return True

    def _partly(self, failed: dict[int, BaseException], count: int) -> BaseException:
        """The error of what was carried out at some of so many shards only."""
        error = next(iter(failed.values()))
        if len(failed) == count or not isinstance(error, (TorrelqueConnectionError, TorrelqueServerError)):
            return error
        kind = TorrelqueConnectionError if isinstance(error, TorrelqueConnectionError) else TorrelqueServerError
        names = ', '.join(map(str, failed))
        done = f'{count - len(failed)} of {count} shards'
        partly: Any = self._told(kind(f'it is done at {done}, and not at {names}: {self._why(error)}'))
        partly.partly = done
        partly.__cause__ = error
        if isinstance(partly, TorrelqueServerError) and isinstance(error, TorrelqueServerError):
            partly.passing = error.passing
        found: BaseException = partly
        return found

    async def _by_shard(self, task_ids: Iterable[str]) -> dict[int, list[int]]:
        """The places of ids in a list, by the shards that have the tasks."""
        if not self._shards:
            await self._open()
        places: dict[int, list[int]] = {}
        for place, task_id in enumerate(task_ids):
            number, certain = self._number_of_id(task_id)
            if not certain:
                number = self._shards.index(await self._holder(task_id))
            places.setdefault(number, []).append(place)
        return places


async def _close(queues: Iterable[Torrelque]) -> None:
    """Close queue objects; when cancelled, all the same, because one that is not would keep its connection."""
    closings = [asyncio.ensure_future(queue.aclose()) for queue in queues]
    cancelled: asyncio.CancelledError | None = None
    while not all(closing.done() for closing in closings):
        try:
            await asyncio.wait(closings)
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        raise cancelled

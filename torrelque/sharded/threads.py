"""What a synchronous queue with shards has beneath its verbs: the map, read at first use, and the ways to one shard or
to all."""

import functools
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TypeVar

import redis
import redis.client
import redis.cluster

from torrelque import (
    Duration,
    TorrelqueClosedError,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueSerialiser,
    TorrelqueServerError,
    TorrelqueTypeError,
)
from torrelque.protocol.check import check_call, seconds_of
from torrelque.sync import Torrelque

from . import common, inside, shards
from .choose import Chooser
from .common import Common
from .shards import Ask, Shape
from .takers import Takers, at_once

Client = redis.Redis | redis.RedisCluster
Pipeline = redis.client.Pipeline | redis.cluster.ClusterPipeline
T = TypeVar('T')

SOON = 0.25
"""s that a shard is given to connect where another would do as well."""


class Base(Common):
    """The shards of a synchronous queue object."""

    client: Any
    """What the object was made with: a client, or a list of some."""
    serialiser: TorrelqueSerialiser
    """What turns tasks, results and progress into bytes and back."""
    max_tasks: int | None
    """How many tasks the queue may have before it refuses more; None is any number."""

    def __init__(
        self,
        client: Client | Sequence[Client],
        queue: str,
        serialiser: TorrelqueSerialiser,
        max_tasks: int | None,
        count: int | None,
    ) -> None:
        self.name = shards.check_queue(queue)
        self.client = client
        self.serialiser = serialiser
        self.max_tasks = max_tasks
        self._times: dict[str, float] = {'task_timeout': 300, 'result_ttl': 3600}
        alone = not isinstance(client, (list, tuple))
        self._clients: list[Any] = [client] if alone else [*client]  # type: ignore[misc]
        """The clients, each of a server, or the one of a Cluster."""
        self._cluster = alone and isinstance(client, redis.RedisCluster)
        """Whether the shards are in a Cluster, and not on unrelated servers."""
        if not self._cluster:
            shards.check_clients(self._clients, redis.RedisCluster)
        self._count = shards.check_shards(count)
        """How many shards there are to be; None is as many as there are."""
        self._default = shards.DEFAULT if alone else len(self._clients)
        """How many there are where nobody has said how many."""
        for each in self._clients:
            # It checks what was given, and sends nothing.
            Torrelque(each, queue=queue, serialiser=serialiser, max_tasks=max_tasks).close()
        self._shards: tuple[Torrelque, ...] = ()
        """The shards, once the map was read."""
        self._shape: Any = None
        """The map, likewise."""
        self._unproven: set[int] = set()
        """Shards on servers that were away when the map was read: whether these are the right ones is not known yet."""
        self._settled: dict[tuple[str, str, str], bool] = {}
        """What became of tasks in a call for many that has failed at other shards: by verb, id and token."""
        self._low: Callable[[list[str]], object] | None = None
        """Is told of schedules that have few instants left."""
        self._fenced: set[tuple[int, int]] = set()
        """Shards that are known to refuse who goes by fewer than so many, with that number."""
        self._known_until = float('inf')
        """When it is time to read the map again."""
        self._closed = False
        self._renew()

    def _renew(self) -> None:
        """What belongs to the threads of one process."""
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._probed: set[int] = set()
        """Shards of which a thread looks whether they are there again."""
        self._refusing: set[int] = set()
        """Shards of which one looks whether they take writes again."""
        self._chooser = Chooser(len(self._shards), self._is_up)
        self._takers = Takers(self._shards, self)

    # What is known

    @property
    def task_timeout(self) -> float:
        """Length of a task's leases (s) where `enqueue` was not given another."""
        return self._times['task_timeout']

    @task_timeout.setter
    def task_timeout(self, duration: Duration) -> None:
        self._set_time('task_timeout', duration)

    @property
    def result_ttl(self) -> float:
        """How long (s) a kept state can be read where `release` was not given another time."""
        return self._times['result_ttl']

    @result_ttl.setter
    def result_ttl(self, duration: Duration) -> None:
        self._set_time('result_ttl', duration)

    def _set_time(self, name: str, duration: Duration) -> None:
        self._times[name] = seconds_of(duration)
        for shard in self._shards:
            setattr(shard, name, duration)

    @property
    def when_low(self) -> Callable[[list[str]], object] | None:
        """What is told of schedules that have few instants left, as of the asynchronous one."""
        return self._low

    @when_low.setter
    def when_low(self, call: Callable[[list[str]], object] | None) -> None:
        self._low = None if call is None else check_call(call, 'when_low', 'names')
        if self._shards:
            self._shards[0].when_low = call

    @property
    def keys(self) -> dict[str, str]:
        """Full names of the keys of the ``home`` shard."""
        return self.home.keys

    @property
    def shards(self) -> tuple[Torrelque, ...]:
        """The shards, by their numbers, each a whole queue.

        :raises TorrelqueError: they are not known yet, because nothing was asked of the queue so far, nor ``ready``.
        """
        if not self._shards:
            raise self._told(TorrelqueError('the shards are not known yet: call ready() first'))
        return self._shards

    @property
    def home(self) -> Torrelque:
        """The first shard, where there is what the queue has once."""
        return self.shards[0]

    def shard_of(self, task_id: str | None = None, group: str | None = None) -> Torrelque:
        """Which shard has the tasks of a group, or a task, as the asynchronous one."""
        found = self.shards
        if group is not None:
            return found[self._number_of_group(group)]
        if task_id is None:
            raise TorrelqueTypeError('shard_of takes the id of a task or a group')
        return found[self._number_of_id(task_id)[0]]

    def ready(self) -> None:
        """See to it that ``shards`` are known, as the asynchronous one."""
        if not self._shards:
            self._open()

    # Opening

    def _open(self) -> tuple[Torrelque, ...]:
        """The shards, once the map was read: by the thread that comes first."""
        with self._lock:
            if self._closed:
                raise self._told(TorrelqueClosedError('the queue was closed'))
            if not self._shards:
                name, count, default = self.name, self._count, self._default
                if self._cluster:
                    opened = self._drive(shards.open_cluster(name, count, default), hasty=2)
                else:
                    opened = self._drive(shards.open_servers(name, len(self._clients), count, default), hasty=1)
                shape = opened.shape
                found = tuple(self._make_shard(shape, number) for number in range(len(shape.tags)))
                self._unproven = {number for number in range(len(found)) if shape.server_of(number) in opened.away}
                found[0].when_low = self._low
                self._shape = shape
                self._chooser = Chooser(len(found), self._is_up)
                self._takers = Takers(found, self)
                self._shards = found
                self._opened()
            return self._shards

    def _make_shard(self, shape: Shape, number: int) -> Torrelque:
        most = None if self.max_tasks is None else -(-self.max_tasks // len(shape.tags))
        client, queue = self._clients[shape.server_of(number)], shards.queue_of(shape.tags[number])
        shard = Torrelque(client, queue=queue, serialiser=self.serialiser, max_tasks=most)
        shard.task_timeout, shard.result_ttl = self.task_timeout, self.result_ttl
        inside.end_ids(shard, shards.suffix_of(number))
        return shard

    def _drive(self, steps: Generator[Sequence[Ask], list[Any], T], hasty: int = 0) -> T:
        """Ask the servers what a generator says, one after the other; what it comes to.

        :param hasty: how many of the first rounds do without those that do not answer soon, where others tell the map:
            in these all are asked at once.
        """
        asked_by: dict[tuple[int, str], Torrelque] = {}

        def ask(server: int, queue: str, words: Sequence[str], patience: float | None = None) -> Any:
            if (server, queue) not in asked_by:
                asked_by[server, queue] = asked = Torrelque(self._clients[server], queue=queue)
                inside.end_ids(asked, shards.suffix_of(shards.number_in(queue) or 0))
            try:
                shard = asked_by[server, queue]
                return shard.command(*words) if patience is None else inside.ask(shard, words, patience)
            except TorrelqueError as exc:
                return exc

        replies: Any = None
        try:
            while True:
                asked = steps.send(replies)
                if hasty <= 0:
                    replies = [ask(*one) for one in asked]
                    continue
                hasty -= 1
                replies = at_once([functools.partial(ask, *one, common.PATIENCE) for one in asked])
                # In a Cluster the map is asked for elsewhere next.
                told = self._cluster and len(asked) == 1 or any(isinstance(reply, bytes) for reply in replies)
                if not told and any(isinstance(reply, TorrelqueConnectionError) for reply in replies):
                    replies = at_once([functools.partial(ask, *one) for one in asked])
        except StopIteration as over:
            result: T = over.value
            return result
        finally:
            for queue in asked_by.values():
                queue.close()

    def _prove(self, number: int) -> None:
        server = self._shape.server_of(number)
        self._drive(shards.prove_server(self.name, server, self._shape))
        self._unproven -= {one for one in self._unproven if self._shape.server_of(one) == server}

    # To one shard

    def _all(self) -> tuple[Torrelque, ...]:
        found = self._shards or self._open()
        if self._process != os.getpid():
            self._renew()
        if time.monotonic() > self._known_until:
            self._look_in_time()
            found = self._shards
        return found

    def _opened(self) -> None:
        """The map was read for the first time."""

    def _look_in_time(self) -> None:
        """Read the map again, when it is time."""

    def _at(self, number: int) -> Torrelque:
        """A shard, to which something is to be sent that has no other place."""
        found = self._all()
        if number in self._unproven:
            self._prove(number)
        return found[number]

    def _of_group(self, group: str) -> Torrelque:
        self._all()
        return self._at(self._number_of_group(group))

    def _holder(self, task_id: str) -> Torrelque:
        """The shard that has a task: where its id does not tell, all are asked; where none has it, any that would."""
        found = self._all()
        number, certain = self._number_of_id(task_id)
        if certain or len(found) == 1:
            return self._at(number)

        def find(shard: Torrelque) -> Torrelque:
            shard.get_task_state(task_id)
            return shard

        try:
            return self._seek(task_id, find)
        except TorrelqueLookupError:
            return found[number]

    def _seek(self, task_id: str, ask: Callable[[Torrelque], T]) -> T:
        """Ask where an id says, else everywhere, one after the other."""
        found = self._all()
        number, certain = self._number_of_id(task_id, now=True)
        try:
            return ask(self._at(number))
        except TorrelqueLookupError:
            if certain:
                raise
        error: Exception = self._told(shards.no_task_in(task_id, len(found)))
        for other in range(len(found)):
            if other != number:
                try:
                    return ask(self._at(other))
                except TorrelqueLookupError:
                    pass
                except TorrelqueConnectionError as exc:
                    # It may be there: that nobody else has it is no answer.
                    error = exc
        raise error

    # Whether shards are there

    def _is_up(self, number: int) -> bool:
        if number in self._probed:
            return False
        if number not in self._unproven:
            return True
        self._look_after(number)
        return False

    def _look_after(self, number: int) -> None:
        """Have a thread look when a shard is there again."""
        with self._lock:
            if number not in self._probed and not self._closed:
                self._probed.add(number)
                threading.Thread(target=self._probe, args=(number,), daemon=True, name='torrelque probe').start()

    def _probe(self, number: int) -> None:
        process = os.getpid()
        while not self._closed and process == os.getpid():
            try:
                # About a key: a primary that has just come back to its Cluster answers, and refuses what is about one.
                shard = self._at(number)
                shard.command('GET', shards.key_of(shard.name))
                break
            except TorrelqueConnectionError:
                # It was tried for some ten seconds.
                pass
            except TorrelqueClosedError:
                break
            except (TorrelqueError, redis.RedisError):
                time.sleep(common.AGAIN)
        self._probed.discard(number)

    # To all shards

    def _everywhere(self, call: Callable[[Torrelque], T], changes: bool = False) -> list[T]:
        """Carry something out at all shards, one after the other; what each says, by their numbers.

        One that is known to be away is not waited for, where another has answered.

        :param changes: whether shards that come later have to go by it, too.
        """
        done: dict[int, T] = {}
        failed: dict[int, TorrelqueError] = {}
        count = len(self._all())
        away = {*self._probed}
        for number in sorted(range(count), key=lambda number: number in away):
            try:
                if number in away and done and number in self._probed:
                    # A thread looks when it is there again.
                    raise TorrelqueConnectionError(f'shard {number} is away')
                done[number] = call(self._at(number))
            except (TorrelqueConnectionError, TorrelqueServerError) as exc:
                failed[number] = exc
                if isinstance(exc, TorrelqueConnectionError):
                    self._look_after(number)
        if not failed:
            return [done[number] for number in range(count)]
        error = next(iter(failed.values()))
        if len(failed) == count:
            raise error
        kind = TorrelqueConnectionError if isinstance(error, TorrelqueConnectionError) else TorrelqueServerError
        names = ', '.join(map(str, failed))
        partly = kind(f'it is done at {count - len(failed)} of {count} shards, and not at {names}: {self._why(error)}')
        raise self._told(partly) from error

    def _by_shard(self, task_ids: Iterable[str]) -> dict[int, list[int]]:
        """The places of ids in a list, by the shards that have the tasks."""
        found = self._all()
        places: dict[int, list[int]] = {}
        for place, task_id in enumerate(task_ids):
            number, certain = self._number_of_id(task_id)
            if not certain:
                number = found.index(self._holder(task_id))
            places.setdefault(number, []).append(place)
        return places

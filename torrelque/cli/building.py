"""Makes the worker of what a target has named or made, as the command line says; or says why it cannot."""

import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torrelque import Torrelque, TorrelqueError, TorrelqueQueue
from torrelque.tasks.address import close_client
from torrelque.worker import App, Worker
from torrelque.worker.places import clients_of, is_one

from .banner import Offer
from .choosing import fifo_functions, strange, view
from .failure import Failure
from .naming import with_shards
from .options import Names, RunOptions
from .server import connect, describe
from .target import is_app, is_handler, is_list, is_served, misfit

PATIENCE = 30.0
"""s that a worker waits at its end for what is running, where nothing says another time."""
LONG_PATIENCE = 600.0
"""The same of a worker that the application has made, which does not tell."""
LATE = ('max_attempts', 'timeout', 'rate', 'run_in', 'result_ttl', 'retry', 'breaker')
"""What a file may say of a worker, and one that is made already cannot be told."""
HEARTBEAT = 5.0
"""s between two beats of a worker that is made here, where the command line says nothing else."""


class Built(NamedTuple):
    """A worker, and what goes with it."""

    worker: Worker
    offer: Offer
    close: Callable[[], Awaitable[None]]
    """Closes what was made for the worker, after its end."""
    patience: float
    """How long (s) the worker may wait at its end for what is running, as far as that is known."""
    doubts: Sequence[str] = ()
    """What the command line says, and may not mean: sentences."""


def build(options: RunOptions, made: Any, version: str, sharded: Collection[str] = ()) -> Built:
    """The worker of what the target is, or has made.

    :param sharded: names of queues of a handler that have shards, because their server has a map of these.
    :raises Failure: it is nothing that a worker can be made of, or an option does not go with it.
    """
    try:
        if options.queue:
            return _of_handler(options, made, version, sharded)
        if isinstance(made, Worker):
            return _of_worker(options, made, version)
        if is_app(made) or is_list(made):
            return _of_apps(options, [made] if is_app(made) else [*made], version)
    except TorrelqueError as exc:
        # A wrong argument of a worker or of an app, which its own checks have found.
        raise Failure(f'{options.target} cannot be served so: {exc}') from None
    raise misfit(options.target, made, made=True)


def _of_handler(options: RunOptions, handler: Any, version: str, sharded: Collection[str]) -> Built:
    if is_served(handler):
        what = 'a worker' if isinstance(handler, Worker) else 'an app'
        option = '-q' if options.filed is None else f'handler of [workers.{options.filed.worker}]'
        raise Failure(f'{option} is for a handler, and {options.target} is {what}, which has queues of its own')
    if not is_handler(handler):
        raise misfit(options.target, handler)
    named: Names = options.queue
    if options.queues is not None:
        if unknown := [name for name in options.queues if name not in options.queue]:
            raise Failure(f'--queues gives an order or weights to what -q names, which is not {unknown[0]!r}')
        named = options.queues
    client = connect(options.url)
    make = _make_queue if options.filed is None else options.filed.make_queue
    objects = {name: make(client, name) for name in (*named, *options.steal)}
    for name in objects:
        if is_one(objects[name]) and (options.shards is not None or name in sharded):
            objects[name] = with_shards(objects[name], options.shards)
    weights = dict(named) if isinstance(named, Mapping) else {}
    own = [objects[name] for name in named]
    worker = Worker(
        {objects[name]: weight for name, weight in weights.items()} if weights else own,
        handler, steal=[objects[name] for name in options.steal], **_given(options),
    )  # fmt: skip

    async def close() -> None:
        await _close_queues(worker)
        for one in {id(one): one for queue in worker.queues for one in (client, *clients_of(queue))}.values():
            await close_client(one)

    name = getattr(handler, '__qualname__', type(handler).__qualname__)
    return Built(worker, _offer(options, worker, [name], weights, version), close, _patience(options))


def _of_apps(options: RunOptions, apps: Sequence[App], version: str) -> Built:
    if options.url is not None:
        raise Failure(f'--url is for a handler, and {options.target} is an app, which has a server of its own')
    served = view(options.target, apps, options.queues, options.steal)
    worker = Worker(served, **_given(options))
    weights = {
        queue.name: weight for app in served for queue, weight in (getattr(app, 'weights', None) or {}).items()
    }
    functions = [name for app in served for name in getattr(app, 'functions', ())]
    names = {queue.name for queue in worker.queues}
    found = [one for app in served for one in fifo_functions(app) if one.queue_name in names]
    ordered = dict.fromkeys(f'{one.group} (a group of {one.queue_name})' for one in found)
    offer = _offer(options, worker, functions, weights, version, ordered)
    doubts = [*strange(apps[0], [*(options.queues or ()), *options.steal])] if len(apps) == 1 else []
    return Built(worker, offer, _nothing, _patience(options), doubts)


def _make_queue(client: Any, name: str) -> TorrelqueQueue:
    return Torrelque(client, queue=name)


async def _nothing() -> None:
    """The queue objects of an app are closed with the event loop."""


def _of_worker(options: RunOptions, worker: Worker, version: str) -> Built:
    """A worker that the application has made, as it has made it."""
    given = {
        '--url': options.url, '--queues': options.queues, '--steal': options.steal, '--burst': options.burst,
        '--shutdown-timeout': options.shutdown_timeout, '--heartbeat': options.heartbeat, '--name': options.name,
    }  # fmt: skip
    if options.filed is not None:
        given |= {name: value for name, value in options.filed.arguments.items() if name in LATE}
    # A time of 0 was given, too.
    if fixed := [name for name, value in given.items() if value or value == 0 and value is not False]:
        raise Failure(
            f'{options.target} is a Worker, which is made already, so {fixed[0]} comes too late; '
            'say that where it is made, or name its app'
        )
    if worker.health().state != 'new':
        raise Failure(f'{options.target} is a Worker that was started before; name one that was not')
    if options.concurrency is not None:
        worker.concurrency = options.concurrency
    close = functools.partial(_close_queues, worker)
    return Built(worker, _offer(options, worker, [], {}, version), close, LONG_PATIENCE)


async def _close_queues(worker: Worker) -> None:
    for queue in worker.queues:
        await queue.aclose()


def _given(options: RunOptions) -> dict[str, Any]:
    """The arguments of a worker that the command line has given, and those that are others than by default."""
    more = {} if options.filed is None else options.filed.arguments
    name = options.name
    if name is not None and options.child is not None and options.processes > 1:
        name = f'{name}-{options.child}'
    found = {
        'concurrency': options.concurrency, 'burst': options.burst or None,
        'shutdown_timeout': options.shutdown_timeout, 'name': name,
        'heartbeat': HEARTBEAT if options.heartbeat is None else options.heartbeat or None,
    }  # fmt: skip
    return {**more, **{key: value for key, value in found.items() if value is not None}}


def _patience(options: RunOptions) -> float:
    return PATIENCE if options.shutdown_timeout is None else options.shutdown_timeout


def _offer(
    options: RunOptions,
    worker: Worker,
    functions: Sequence[str],
    weights: Mapping[str, int],
    version: str,
    ordered: Iterable[str] = (),
) -> Offer:
    servers = [*dict.fromkeys(describe(client) for queue in worker.queues for client in clients_of(queue))]
    own = worker.health().queues
    steal = [queue.name for queue in worker.queues[len(own) :]]
    return Offer(
        version, options.label, servers, own, weights, steal, functions, [*ordered], worker.concurrency,
        options.burst,
    )  # fmt: skip

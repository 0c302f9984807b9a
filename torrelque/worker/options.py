"""What a worker was given, checked before anything is taken."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torrelque import Duration, Torrelque, TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

from .apps import Apps
from .delivery import Delivery
from .job import App
from .places import identity

Servable = (
    TorrelqueQueue
    | Sequence[TorrelqueQueue]
    | Mapping[Torrelque, int]
    | Mapping[TorrelqueQueue, int]
    | Sequence[tuple[TorrelqueQueue, int]]
    | App
    | Sequence[App]
)
"""What a worker can be given to serve."""


class Served(NamedTuple):
    """Queues, and what handles their tasks: an app, or ``call``."""

    queues: list[TorrelqueQueue]
    steal: list[TorrelqueQueue]
    weights: dict[TorrelqueQueue, int] | None
    app: App | None
    call: Callable[[Any], Any]


class Times(NamedTuple):
    """Times of a worker, in seconds."""

    shutdown: float
    """How long its end waits for what is running."""
    heartbeat: float | None
    """From one beat to the next, if there are any."""
    rate: tuple[int, float] | None
    """How many tasks may begin, and in what time, if that is limited."""


def serve(queue: Any, handler: Callable[[Any], Any] | None, steal: Sequence[TorrelqueQueue]) -> Served:
    """What the first arguments of a worker mean.

    :raises TorrelqueTypeError: an argument is of the wrong kind.
    :raises TorrelqueValueError: there is no queue, or one is named twice, or a weight cannot be meant.
    """
    app: App | None = None
    weights: dict[TorrelqueQueue, int] | None = None
    queues: list[Any]
    if isinstance(steal, (str, bytes)) or not isinstance(steal, Iterable):
        raise TorrelqueTypeError(f'steal must be queues, not {steal!r}')
    queue = _joined(queue)
    if isinstance(queue, (type, str, bytes)):
        raise TorrelqueTypeError(f'a worker serves a queue, an app, or several, not {queue!r}')
    if isinstance(queue, TorrelqueQueue):
        queues = [queue]
    elif _is_app(queue):
        app, queues = queue, [*queue.queues]
        weights = dict(given) if (given := getattr(queue, 'weights', None)) else None
        steal = [*getattr(queue, 'steal', ()), *steal]
    elif isinstance(queue, Mapping):
        queues, weights = [*queue], dict(queue)
    else:
        try:
            queues = [*queue]
        except TypeError as exc:
            raise TorrelqueTypeError(f'a worker serves a queue, an app, or several, not {queue!r}') from exc
        if queues and all(isinstance(pair, tuple) and len(pair) == 2 for pair in queues):
            weights = dict(queues)
            queues = [one for one, _ in queues]
    for one in (*queues, *steal):
        if not isinstance(one, TorrelqueQueue):
            raise TorrelqueTypeError(f'not a queue of torrelque: {one!r}')
    if not queues:
        raise TorrelqueValueError('a worker needs a queue')
    if len({identity(one) for one in (*queues, *steal)}) < len(queues) + len(steal):
        raise TorrelqueValueError('a queue is named twice')
    for weight in (weights or {}).values():
        check.check_count(weight, 'a weight')
    if app is not None and handler is not None:
        raise TorrelqueTypeError('an app has handlers of its own')
    if app is None:
        if isinstance(handler, type):
            raise TorrelqueTypeError(f'a handler must be a function or a coroutine function, not {handler!r}')
        check.check_call(handler, 'a handler', 'delivery')
    return Served(queues, [*steal], weights, app, handler or _nobody)


def _joined(queue: Any) -> Any:
    """Several apps as one; whatever else a worker may be given stays as it is."""
    if isinstance(queue, (list, tuple)) and queue and all(_is_app(one) for one in queue):
        return queue[0] if len(queue) == 1 else Apps(queue)
    return queue


def _is_app(value: Any) -> bool:
    return not isinstance(value, type) and callable(getattr(value, 'prepare', None))


def check_options(
    concurrency: int,
    max_attempts: int | None,
    timeout: Duration | None,
    result_ttl: Duration | None,
    shutdown_timeout: Duration,
    heartbeat: Duration | None,
    rate: tuple[int, Duration] | None,
    run_in: str,
    name: str | None,
    burst: bool,
    signals: bool,
) -> Times:
    """Refuse what cannot be meant; the times of the others."""
    check.check_flag(burst, 'burst')
    check.check_flag(signals, 'signals')
    check.check_count(concurrency, 'concurrency')
    check.check_attempts(max_attempts)
    if timeout is not None:
        check.check_seconds(timeout, 'timeout', least=check.MIN_SECONDS, positive=True)
    if heartbeat is not None:
        heartbeat = check.check_seconds(heartbeat, 'heartbeat', least=check.MIN_SECONDS, positive=True)
    if result_ttl is not None:
        check.check_seconds(result_ttl, 'result_ttl')
    patience = check.check_seconds(shutdown_timeout, 'shutdown_timeout')
    if name is not None:
        check.check_name(name, 'name')
    if rate is not None:
        check.check_rate(rate, others='')
        period = check.check_seconds(rate[1], 'the seconds of a rate', least=check.MIN_SECONDS, positive=True)
        rate = rate[0], period
    check.check_run_in(run_in)
    return Times(patience, heartbeat, rate)


def _nobody(delivery: Delivery) -> None:
    raise AssertionError('an app has a job for each task')


# Logs show the name where the app has no job of a task.
_nobody.__qualname__ = 'unknown'

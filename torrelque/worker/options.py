"""What a worker was given, checked before anything is taken."""

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torrelque import Torrelque, TorrelqueTypeError, TorrelqueValueError

from .check import check_call, check_count, check_flag, check_name, check_time, check_whole
from .delivery import Delivery, Job
from .job import App
from .retry import check_rule


class Served(NamedTuple):
    """Queues, and what handles their tasks: an app, or ``call``."""

    queues: list[Torrelque]
    weights: dict[Torrelque, int] | None
    app: App | None
    call: Callable[[Any], Any]


def serve(queue: Any, handler: Callable[[Any], Any] | None, steal: Sequence[Torrelque]) -> Served:
    """What the first arguments of a worker mean."""
    app: App | None = None
    weights: dict[Torrelque, int] | None = None
    queues: list[Any]
    if isinstance(steal, (str, bytes)) or not isinstance(steal, Iterable):
        raise TorrelqueTypeError(f'steal must be queues, not {steal!r}')
    if isinstance(queue, (type, str, bytes)):
        raise TorrelqueTypeError(f'a worker serves a Torrelque, several, or an app, not {queue!r}')
    if isinstance(queue, Torrelque):
        queues = [queue]
    elif callable(getattr(queue, 'prepare', None)):
        app, queues = queue, [*queue.queues]
    elif isinstance(queue, Mapping):
        queues, weights = [*queue], dict(queue)
    else:
        try:
            queues = [*queue]
        except TypeError as exc:
            raise TorrelqueTypeError(f'a worker serves a Torrelque, several, or an app, not {queue!r}') from exc
        if queues and all(isinstance(pair, tuple) and len(pair) == 2 for pair in queues):
            weights = dict(queues)
            queues = [one for one, _ in queues]
    for one in (*queues, *steal):
        if not isinstance(one, Torrelque):
            raise TorrelqueTypeError(f'not a torrelque.Torrelque: {one!r}')
    if not queues:
        raise TorrelqueValueError('a worker needs a queue')
    if len({(id(one.client), one.keys['pending']) for one in (*queues, *steal)}) < len(queues) + len(steal):
        raise TorrelqueValueError('a queue is named twice')
    for weight in (weights or {}).values():
        check_count(weight, 'a weight')
    if app is not None and handler is not None:
        raise TorrelqueTypeError('an app has handlers of its own')
    if app is None:
        if isinstance(handler, type):
            raise TorrelqueTypeError(f'a handler must be a function or a coroutine function, not {handler!r}')
        check_call(handler, 'a handler', 'delivery')
    return Served(queues, weights, app, handler or _nobody)


def check_options(
    concurrency: int,
    max_attempts: int | None,
    timeout: float | None,
    result_ttl: float | None,
    shutdown_timeout: float,
    heartbeat: float | None,
    rate: tuple[int, float] | None,
    run_in: str,
    name: str | None,
    burst: bool,
    signals: bool,
) -> None:
    """Refuse what cannot be meant."""
    check_flag(burst, 'burst')
    check_flag(signals, 'signals')
    check_count(concurrency, 'concurrency')
    check_attempts(max_attempts)
    for what, value in (('timeout', timeout), ('heartbeat', heartbeat)):
        if value is not None:
            check_time(value, what, positive=True)
    if result_ttl is not None:
        check_time(result_ttl, 'result_ttl')
    check_time(shutdown_timeout, 'shutdown_timeout')
    if name is not None:
        check_name(name, 'name')
    if rate is not None:
        if not isinstance(rate, (tuple, list)) or len(rate) != 2:
            raise TorrelqueTypeError(f'rate must be a pair (starts, seconds), not {rate!r}')
        check_count(rate[0], 'the starts of a rate')
        check_time(rate[1], 'the seconds of a rate', positive=True)
    check_place(run_in)


def check_job(job: Job) -> Job:
    """Refuse a job, with the worker's defaults in it, whose tasks could not be worked on."""
    check_attempts(job.max_attempts)
    if job.retry is None:
        raise TorrelqueTypeError('retry must be a rule, not None; max_attempts=1 has a task tried once')
    check_rule(job.retry)
    if job.timeout is not None:
        check_time(job.timeout, 'timeout', positive=True)
    for what, value in (('result_ttl', job.result_ttl), ('keep', job.keep)):
        if value is not None:
            check_time(value, what)
    if job.run_in is not None:
        check_place(job.run_in)
    for what, hook in (('on_success', job.on_success), ('on_error', job.on_error), ('on_dead', job.on_dead)):
        if hook is not None:
            check_call(hook, what, 'delivery', 'result' if what == 'on_success' else 'exception')
    return job


def check_place(run_in: Any) -> None:
    """Refuse what is no place for a handler."""
    if not isinstance(run_in, str):
        raise TorrelqueTypeError(f'run_in must be a str, not {type(run_in).__name__}')
    if run_in not in ('thread', 'process'):
        raise TorrelqueValueError(f"run_in must be 'thread' or 'process', not {run_in!r}")


def check_attempts(max_attempts: int | None) -> int | None:
    """A number of attempts; -1 is without end."""
    if max_attempts is None or check_whole(max_attempts, 'max_attempts') == -1:
        return max_attempts
    return check_count(max_attempts, 'max_attempts')


def check_portable(call: Callable[..., Any]) -> None:
    """Refuse a handler that cannot be sent to a process."""
    try:
        pickle.dumps(call)
    except Exception as exc:
        raise TorrelqueTypeError(f'a handler that runs in a process must be a function of a module: {exc}') from exc


def _nobody(delivery: Delivery) -> None:
    raise AssertionError('an app has a job for each task')

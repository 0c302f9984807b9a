"""What a call says of a task in one word: how it is enqueued, and what is kept of one that is released."""

import functools
import json

from torrelque.error import TorrelqueValueError
from torrelque.model import Duration, TorrelqueTaskStatus

from .check import MAX_SECONDS, check_count, check_group, check_priority, milliseconds
from .transition import Arg

_quote = json.encoder.encode_basestring_ascii


@functools.lru_cache(100, typed=True)
def _lease_alone(task_timeout: float) -> str:
    # Cached, because most tasks of a process have one of a few leases, and to check one takes as long as to pack it.
    return str(milliseconds(task_timeout, 'task_timeout'))


def enqueue_options(
    task_timeout: Duration,
    delay: Duration | None,
    max_attempts: int | None,
    mark: str | None,
    group: str | None = None,
    priority: int = 0,
    queue: str | None = None,
    keyed: int | None = None,
) -> str:
    """Options of one task to enqueue; the plain ones are the lease alone.

    :param keyed: of a task with a group or an own id that goes to a shard: among how many of them its caller divides
        these.
    """
    plain = delay is None and max_attempts is None and mark is None and group is None and check_priority(priority) == 0
    if plain and queue is None:
        if isinstance(task_timeout, (int, float)):
            return _lease_alone(task_timeout)
        return str(milliseconds(task_timeout, 'task_timeout'))
    # Written by hand, because `json.dumps` takes several times as long for so few fields, of which one is any text.
    timeout = milliseconds(task_timeout, 'task_timeout')
    delay = 0 if delay is None else milliseconds(delay, 'delay')
    options = f'{{"timeout":{timeout}'
    if delay:
        options += f',"delay":{delay}'
    if max_attempts is not None:
        options += f',"max_attempts":{check_count(max_attempts, "max_attempts")}'
    if mark is not None:
        options += f',"mark":"{mark}"'
    if group is not None:
        options += f',"group":{_quote(check_group(group))}'
    if keyed is not None:
        options += f',"keyed":{keyed}'
    if check_priority(priority):
        options += f',"priority":{priority}'
    if queue is not None:
        options += f',"queue":{_quote(queue)}'
    return options + '}'


def release_options(
    status: TorrelqueTaskStatus,
    result: bytes | None,
    result_ttl: Duration | None,
    default: Duration,
    task_id: str = '',
) -> list[Arg]:
    """What is said of a task to finish, behind id and token: to keep nothing, or its state and result for a while.

    A flow has to know how its tasks have ended, however long that is kept.  The script knows whether a task is of one;
    so what is not kept is told where it did not complete, or has a result and an id like that of a task of a flow.
    """
    plain = result is None and result_ttl is None and status is TorrelqueTaskStatus.COMPLETED
    if plain and type(default) in (int, float) and 0 <= default <= MAX_SECONDS:  # type: ignore[operator]
        return ['']
    try:
        final = TorrelqueTaskStatus(status)
    except ValueError as exc:
        raise TorrelqueValueError(f'not a status: {status!r}') from exc
    if not final.isfinal():
        raise TorrelqueValueError(f'a task is released with a final status, not {final.name}')
    ttl = milliseconds(default if result_ttl is None else result_ttl, 'result_ttl')
    if not ttl and (result is not None and '.' in task_id or final != TorrelqueTaskStatus.COMPLETED):
        return [f'{final:d} 0', b'' if result is None else b'=' + result]
    if not ttl or (result is None and result_ttl is None and final != TorrelqueTaskStatus.REJECTED):
        return ['']
    return [f'{final:d} {ttl}', b'' if result is None else b'=' + result]

"""What this process knows of leases: the right to settle that an id carries, and until when it is known to hold."""

import math
from collections.abc import Sequence
from time import monotonic

from torrelque.model import Duration, TorrelqueTaskId

from .check import seconds_of


def token_of(task_id: str) -> str:
    """The right to settle that a delivered id carries, '' for a plain one."""
    return task_id.token if isinstance(task_id, TorrelqueTaskId) else ''


def release_token(task_id: str) -> str:
    """The token with which a task is released.

    A call whose reply was lost is sent again, and may then find nothing: it has done its work, or, where the lease was
    over when it was made, somebody else has.  So whoever is not sure to hold the lease says for how long after the
    claim (ms) it was held: ``token?ms``.
    """
    if not isinstance(task_id, TorrelqueTaskId):
        return ''
    try:
        if monotonic() < task_id._held_until:
            return task_id.token
    except AttributeError:
        pass  # the id came from another process, or from no claim
    if not task_id.token:
        return ''
    held = 0 if getattr(task_id, '_touched', False) else round(1000 * (task_id.timeout or 0))
    return f'{task_id.token}?{held}'


def renewing(task_ids: Sequence[str], since: float, task_timeout: Duration | None) -> None:
    """Note that leases are about to be moved: one that may end earlier now is not known to hold for longer."""
    for task_id in task_ids:
        if isinstance(task_id, TorrelqueTaskId) and (length := _length_of(task_id, task_timeout)) is not None:
            task_id._held_until = min(getattr(task_id, '_held_until', math.inf), since + length)
            task_id._touched = True


def renewed(task_ids: Sequence[str], done: Sequence[bool], since: float, task_timeout: Duration | None) -> None:
    """Note how long leases hold that were renewed by a call that was made at ``since``, by `time.monotonic`."""
    for task_id, is_done in zip(task_ids, done, strict=True):
        if is_done and isinstance(task_id, TorrelqueTaskId):
            length = _length_of(task_id, task_timeout)
            task_id._held_until = since + (length or 0)


def _length_of(task_id: TorrelqueTaskId, task_timeout: Duration | None) -> float | None:
    return task_id.timeout if task_timeout is None else seconds_of(task_timeout)

"""Lines of the log about tasks that were found damaged, or that could not be brought back."""

import logging
from collections.abc import Sequence

from torrelque.error import reason_of

logger = logging.getLogger('torrelque')


def tell_troubles(troubles: Sequence[tuple[str, str]], queue: str) -> None:
    """Log which tasks of a queue a transition found damaged."""
    for task_id, trouble in troubles:
        logger.warning('queue %r: task %r was damaged: %s', queue, task_id, trouble)


def tell_not_returned(queue: str, task_ids: Sequence[str], error: BaseException) -> None:
    """Log that tasks of a claim, for which nobody waits, will come again only when their leases have ended."""
    ids = ', '.join(repr(str(task_id)) for task_id in task_ids[:10]) + (', …' if len(task_ids) > 10 else '')
    what = 'queue %r: nobody waits for task %s, which could not be given back before its lease ends: %s'
    logger.warning(what, queue, ids, reason_of(error))


def tell_not_buried(queue: str, task_id: str, error: BaseException) -> None:
    """Log that a task whose payload cannot be read will come again."""
    what = 'queue %r: task %r, whose payload cannot be read, could not be buried: %s'
    logger.warning(what, queue, task_id, reason_of(error))

"""Calls that are enqueued when the transaction is committed."""

from typing import Any, ParamSpec

from asgiref.sync import sync_to_async
from django.db import transaction

from torrelque.tasks import Enqueuer

P = ParamSpec('P')


def enqueue_on_commit(function: Enqueuer[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """Enqueue a call when the transaction of the default database is committed; outside of one, at once.

    ``enqueue_on_commit(send, order.pk)``, or with options, ``enqueue_on_commit(send.options(delay=60), order.pk)``.
    What is rolled back, to a savepoint too, is not enqueued.

    **Between commit and enqueue a task may be lost**: where the process dies there, or the server is away for longer
    than a call waits for it (some ten seconds), the transaction is committed and the task is not there.  Django logs
    what was raised, and goes on with what else waits for the commit, because the call is a ``robust`` one.  Where each
    task counts, look from time to time for rows that nobody has worked on, and enqueue them again.

    :param function: a function that is decorated by `torrelque.tasks.Tasks`.
    :raises TorrelqueTypeError: the arguments are not those of the function.  They are checked here, where it can be
        seen who gave them, and not at the commit.
    :raises django.db.transaction.TransactionManagementError: autocommit is off, and there is no block of ``atomic``.
    """
    transaction.on_commit(function.prepare(*args, **kwargs), robust=True)


async def aenqueue_on_commit(function: Enqueuer[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
    """As `enqueue_on_commit`, for a coroutine: in the thread in which its queries run."""
    await sync_to_async(transaction.on_commit)(function.prepare(*args, **kwargs), robust=True)

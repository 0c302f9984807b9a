"""Calls that are of no use any more when they would begin too late."""

from torrelque import TorrelqueTaskState
from torrelque.worker import Delivery, Reject


async def refuse_expired(delivery: Delivery) -> None:
    """Reject a task that was handed out later than its ``expires`` says (s after it was enqueued, or was redriven).

    All instants are of the server's clock, so the clocks of the machines have no part in it.  A redriven task that had
    no time at all from the beginning, because the instant that its caller gave had passed, is run: somebody who knows
    that it is late has asked for it.

    :raises Reject: the task has expired.
    :raises TorrelqueLookupError: it is not ours any more.
    """
    state = await delivery.queue.get_task_state(delivery.id)
    expires, redriven = delivery.task['expires'], _redriven(state)
    since = state.enqueue_time if redriven is None else redriven
    age = (state.last_dequeue_time or since) - since
    if age >= expires and not (redriven is not None and expires == 0):
        last = (state.error or '').strip().rpartition('\n')[2]
        what = 'enqueued' if redriven is None else 'redriven'
        text = f'expired: it was handed out {age:.3f} s after it was {what}, and had {expires:g} s'
        raise Reject(f'{text}; its last attempt failed with {last}' if last else text)


def _redriven(state: TorrelqueTaskState) -> float | None:
    """When a task was redriven; None where it was not, or died without a failed attempt."""
    ready = state.ready_time
    # A first delay is over before the first attempt begins, and a redrive comes after it.
    return ready if ready is not None and state.history and ready > state.history[0].start else None

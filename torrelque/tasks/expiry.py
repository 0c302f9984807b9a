"""Calls that are of no use any more when they would begin too late."""

from torrelque.worker import Delivery, Reject


async def refuse_expired(delivery: Delivery) -> None:
    """Reject a task that was handed out later than its ``expires`` says (s after it was enqueued).

    Both instants are of the server's clock, so the clocks of the machines have no part in it.

    :raises Reject: the task has expired.
    :raises TorrelqueLookupError: it is not ours any more.
    """
    state = await delivery.queue.get_task_state(delivery.id)
    age = (state.last_dequeue_time or state.enqueue_time) - state.enqueue_time
    expires = delivery.task['expires']
    if age >= expires:
        last = (state.error or '').strip().rpartition('\n')[2]
        text = f'expired: it was handed out {age:.3f} s after it was enqueued, and had {expires:g} s'
        raise Reject(f'{text}; its last attempt failed with {last}' if last else text)

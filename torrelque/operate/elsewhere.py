"""Why a task of a flow does not end here that is worked on in another queue."""

from torrelque import TorrelqueTaskStatus as Status

from . import remedies
from .looking import Seen
from .reading import instant_of, text_of, whole_of
from .values import Reason


def is_elsewhere(seen: Seen) -> bool:
    """Whether it stands for a task that is worked on in another queue."""
    return seen.raw.get('away') is not None and seen.state.get('queue') is not None


def of_away(seen: Seen) -> Reason:
    """Where it is, and since when; or what the other queue is still to be told."""
    name = text_of(seen.state['queue'])
    other, since, errand = seen.queue.sibling(name), seen.instant('told_time'), seen.state['errand']
    if errand is not None:
        tries = whole_of(seen.state['tries']) or 0
        told = 'that it was cancelled' if errand == b'cancel' else 'of it'
        text = f'queue {name} is to be told {told}' + (f', which was tried {tries:,} times' if tries > 1 else '')
        command = remedies.command(seen.queue, 'sweep')
        return Reason('waiting', text, until=instant_of(seen.raw['away']), count=tries, command=command)
    if seen.status is Status.CANCELLED:
        text = f'it was cancelled, and is at queue {name} still: it is gone when whoever works on it there lets it go'
        return Reason('cancelled', text, since=since, command=remedies.command(other, 'why', seen.id))
    if seen.error is not None:
        text = f'it is at queue {name}, and dead there'
        return Reason('dead', text, error=seen.error, command=remedies.command(other, 'redrive', seen.id))
    return Reason('working', f'it is at queue {name}', since=since, command=remedies.command(other, 'why', seen.id))

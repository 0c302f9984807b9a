"""Which queues of which app a worker serves, by what the command line says."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torrelque.tasks import FifoFunction
from torrelque.worker import App

from .failure import Failure
from .options import Names


def view(target: str, apps: Sequence[App], queues: Names | None, steal: Sequence[str]) -> list[App]:
    """The apps with these queues only, in this order or with these weights, and with those to steal from.

    A name that is of no function goes to the app, where there is one alone; of several apps each has the names that are
    of its functions, and one that has none of them is left out.

    :raises Failure: the names cannot be given to the apps so.
    """
    if queues is None and not steal:
        return [*apps]
    for app in apps:
        if not callable(getattr(app, 'serving', None)):
            raise Failure(f'{target} has its queues already, so --queues and --steal come too late; name its Tasks')
    if len(apps) == 1:
        return [_serving(apps[0], queues, steal)]
    owned = {app: [queue.name for queue in app.queues] for app in apps}
    if unknown := [name for name in (*(queues or ()), *steal) if not any(name in own for own in owned.values())]:
        raise Failure(f'{target} has several apps, and none of them has a function for queue {unknown[0]!r}')
    found: list[App] = []
    order: list[str] = []
    for app in sorted(apps, key=lambda app: _place(owned[app], queues)):
        own = _part(queues, owned[app])
        stolen = [name for name in steal if name in owned[app]]
        if stolen and not [name for name in owned[app] if name not in stolen and (own is None or name in own)]:
            raise Failure(f'no queue of the app of {stolen[0]!r} is served, so --steal cannot name that')
        if own is None or own:
            found.append(_serving(app, own, stolen))
            order += [name for name in own or () if name not in order]
    if queues is not None and not isinstance(queues, Mapping) and order != [*queues]:
        raise Failure('the queues of one app cannot stand between those of another: name them beside each other')
    return found


def strange(app: App, names: Iterable[str]) -> Iterator[str]:
    """What is odd about names of queues for an app: a sentence for each that it knows nothing of."""
    known = [queue.name for queue in app.queues]
    ordered = {function.group.partition(':')[2]: function for function in fifo_functions(app)}
    for name in names:
        if name in known:
            continue
        if (function := ordered.get(name)) is not None:
            more = f'what app.fifo calls so is the group {function.group!r} of queue {function.queue_name!r}'
        elif near := difflib.get_close_matches(name, known, 3):
            more = f'did you mean {" or ".join(map(repr, near))}?'
        else:
            more = f'its queues are {", ".join(map(repr, known))}'
        yield f'no function of the app is in queue {name!r}, and its queues= does not name it; {more}'


def fifo_functions(app: App) -> list[FifoFunction[..., Any, Any]]:
    """Those of an app's functions that are called in strict order."""
    functions = getattr(app, 'functions', ())
    found = functions.values() if isinstance(functions, Mapping) else ()
    return [function for function in found if isinstance(function, FifoFunction)]


def _place(own: Sequence[str], queues: Names | None) -> int:
    """Where the first of an app's queues is named."""
    return next((place for place, name in enumerate(queues or ()) if name in own), 0 if queues is None else len(queues))


def _part(queues: Names | None, own: Sequence[str]) -> Names | None:
    """What is named of an app's queues."""
    if queues is None:
        return None
    if isinstance(queues, Mapping):
        return {name: weight for name, weight in queues.items() if name in own}
    return [name for name in queues if name in own]


def _serving(app: App, queues: Names | None, steal: Sequence[str]) -> App:
    made: App = app.serving(queues, steal)  # type: ignore[attr-defined]
    return made

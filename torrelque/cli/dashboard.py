"""``torrelque dashboard``: the dashboard as a server of its own, of queues that there are, or of a demo."""

import argparse
import asyncio
import importlib.util
import logging
import os
import socket
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .alertfile import Watched
from .failure import Exit, Failure
from .filed import file_of, read_watched
from .listening import listen_at, spelt
from .out import Out, number
from .session import Session, answer, answer_alone, find_app, is_read_only

if TYPE_CHECKING:
    from torrelque import TorrelqueQueue

PASSWORD = 'TORRELQUE_DASHBOARD_PASSWORD'
NEEDED = ('starlette', 'jinja2', 'sse_starlette', 'uvicorn')
READS = 'reads only'
YOU = 'you'
"""Whoever looks at a demo."""


def dashboard(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code.

    :raises Failure: it cannot be meant, or it cannot listen.
    """
    missing = [name.replace('_', '-') for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = ', '.join(missing)
        raise Failure(f"the dashboard needs {names}, of the extra 'dashboard': pip install 'torrelque[dashboard]'")
    if found.demo and (found.queue or found.url is not None or found.app is not None or found.config is not None):
        raise Failure('--demo has queues and a server of its own; -q, --url, --app and -c are for others')
    _fill(found)
    allow = _allowed(found)
    # Whoever may only read keeps no states of rules.
    watched = Watched() if found.demo or is_read_only(found) else read_watched(found)
    if found.app is None and not found.queue and watched.queues:
        found.queue = watched.queues
    with _listen(found) as listener:
        if found.demo:
            return answer_alone(found, lambda out: _show_demo(found, out, listener, allow))

        async def show(session: Session) -> int:
            names = [queue.name for queue in session.queues]
            what = f'{names[0]!r}' if len(names) == 1 else f'{number(len(names))} queues'
            shown = _Shown(session.queues, _functions_of(found), watched)
            return await _serve(found, session.out, listener, shown, allow, session.operator.who, what)

        return answer(found, show, several=True)


def _fill(found: argparse.Namespace) -> None:
    """Have a file say what the command line does not, and have all others as they are by default."""
    from torrelque.config import DashboardConfig

    file = None if found.demo else file_of(found, 'dashboard')
    said = DashboardConfig() if file is None else file.sections.dashboard
    # Where only reading is allowed, a file that allows more is no slip: it is that of all who use it.
    may = () if is_read_only(found) else said.allow
    found.allow = [*may] if found.allow is None else found.allow
    found.host = [*found.host, *said.host]
    found.insecure = found.insecure or said.insecure
    for name in ('bind', 'payloads', 'title'):
        if getattr(found, name) is None:
            setattr(found, name, getattr(said, name))


def _allowed(found: argparse.Namespace) -> frozenset[str]:
    """What visitors may do.

    :raises Failure: there is no such act, or only reading is allowed here.
    """
    from torrelque import TorrelqueError
    from torrelque.dashboard import GRANTS, Visitor

    acts = frozenset(GRANTS) - {'payload'}
    if found.demo:
        return frozenset() if is_read_only(found) else acts
    if found.allow and is_read_only(found):
        raise Failure(
            'only reading is allowed here, by --read-only or TORRELQUE_READ_ONLY, and --allow is about more',
            Exit.REFUSED,
        )
    given = {*found.allow}
    try:
        return Visitor('anyone', given - {'all'} | (acts if 'all' in given else frozenset())).allow
    except TorrelqueError as exc:
        raise Failure(f'--allow: {exc}') from None


def _listen(found: argparse.Namespace) -> socket.socket:
    from torrelque.dashboard.serve import is_local

    host, port = found.bind
    listener = listen_at(host, port)
    if not is_local(listener) and not os.environ.get(PASSWORD) and not found.insecure:
        listener.close()
        raise Failure(f'--bind {spelt(host, port)} lets others in: set {PASSWORD}, or say --insecure if that is meant')
    return listener


async def _show_demo(found: argparse.Namespace, out: Out, listener: socket.socket, allow: Iterable[str]) -> int:
    from torrelque.dashboard.demo import Demo

    if not found.verbose:
        # What fails in the demo is meant to.
        logging.getLogger('torrelque.worker').setLevel(logging.CRITICAL + 1)
    async with Demo() as demo:
        what = f'a demo of {len(demo.queues)} queues'
        return await _serve(found, out, listener, _Shown(demo.queues, demo.functions), allow, YOU, what)


class _Shown(NamedTuple):
    """What is shown: some queues of an app, or of several, and the functions of these, whose arguments have names."""

    queues: 'Sequence[TorrelqueQueue]'
    functions: Mapping[str, Any]
    watched: Watched = Watched()


def _functions_of(found: argparse.Namespace) -> dict[str, Any]:
    """The decorated functions of the apps that are named, by their names."""
    if found.app is None:
        return {}
    app = find_app(found)
    apps = app if isinstance(app, list) else [app]
    return {name: function for one in apps for name, function in getattr(one, 'functions', {}).items()}


async def _serve(
    found: argparse.Namespace, out: Out, listener: socket.socket, shown: _Shown, allow: Iterable[str], who: str,
    what: str,
) -> int:  # fmt: skip
    """Serve pages of some queues until a signal comes."""
    from torrelque.dashboard import Dashboard
    from torrelque.dashboard.serve import Service, permit_all, serve, url_of
    from torrelque.monitor import Alerts

    watched = shown.watched
    alerts = Alerts(shown.queues, watched.rules, watched.sinks) if watched.rules else None
    if alerts is not None:
        # What is told to the log is to be seen.
        logging.getLogger('torrelque.monitor').setLevel(logging.WARNING)
    allow = sorted(allow)
    title = found.title or ('Demo' if found.demo else 'Queues')
    pages = Dashboard(shown, permit=permit_all(who, allow), title=title, payloads=found.payloads, alerts=alerts)
    url = url_of(listener, found.host)
    listed = ', '.join(allow)
    opening: list[asyncio.Future[Any]] = []

    def tell() -> None:
        pages.start()
        if out.as_json:
            out.json({'url': url, 'queues': [queue.name for queue in shown.queues], 'allow': allow})
        else:
            out.line(f'dashboard of {what} at {url} , {f"allows {listed}" if allow else READS}')
        if found.open:
            opening.append(asyncio.ensure_future(_open(url, out.tell)))

    try:
        service = Service(pages, listener, found.host, os.environ.get(PASSWORD) or None, tell, pages.close)
        await serve(service)
    finally:
        for one in opening:
            one.cancel()
        await pages.aclose()
    return Exit.WELL


async def _open(url: str, tell: Callable[[str], object]) -> None:
    """Open a page in a browser; one in the terminal would take that, and not come back."""
    if not await asyncio.to_thread(webbrowser.open, url):
        tell(f'no browser could be opened: {url}')

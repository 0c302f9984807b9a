"""``torrelque metrics``: what Prometheus is told of queues, once, or by a server of its own."""

import argparse
import importlib.util
import socket
import sys
from typing import TYPE_CHECKING

from .failure import Exit, Failure
from .filed import file_of
from .listening import listen_at
from .out import number
from .session import Session, answer

if TYPE_CHECKING:
    from torrelque.monitor import Metrics


PLACE = '127.0.0.1', 9109


def metrics(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code.

    :raises Failure: it cannot be meant, or it cannot listen.
    """
    needed = ('prometheus_client', *(() if found.serve is None else ('starlette', 'uvicorn')))
    missing = [name.replace('_', '-') for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        names = ', '.join(missing)
        raise Failure(f"the metrics need {names}, of the extra 'monitor': pip install 'torrelque[monitor]'")
    if found.serve is None:
        return answer(found, lambda session: _print(found, session), several=True)
    with listen_at(*_place(found)) as listener:
        return answer(found, lambda session: _serve(found, session, listener), several=True)


def _make(found: argparse.Namespace, session: Session) -> 'Metrics':
    from torrelque.monitor import Metrics

    return Metrics(session.queues, groups=found.group)


async def _print(found: argparse.Namespace, session: Session) -> int:
    """Print what a request would get."""
    exporter = _make(found, session)
    try:
        if session.out.as_json:
            for sample in await exporter.samples():
                session.out.json(sample)
        else:
            text, _ = await exporter.exposition()
            # The text is UTF-8, whatever the terminal has.
            sys.stdout.flush()
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        silent = await exporter.silent()
    finally:
        await exporter.aclose()
    for name in silent:
        session.out.tell(f'queue {name!r} could not be read')
    return Exit.REFUSED if silent else Exit.WELL


def _place(found: argparse.Namespace) -> tuple[str, int]:
    """Where to listen: as the command line says, else the file, else on this machine alone."""
    if found.serve:
        return found.serve  # type: ignore[no-any-return]
    file = file_of(found, 'metrics')
    return PLACE if file is None or file.sections.metrics.bind is None else file.sections.metrics.bind


async def _serve(found: argparse.Namespace, session: Session, listener: socket.socket) -> int:
    """Answer requests until a signal comes."""
    from torrelque.monitor.hosting import host
    from torrelque.monitor.listening import url_of

    names = [queue.name for queue in session.queues]
    what = f'{names[0]!r}' if len(names) == 1 else f'{number(len(names))} queues'
    exporter, url = _make(found, session), url_of(listener)

    def tell() -> None:
        if session.out.as_json:
            session.out.json({'url': f'{url}metrics', 'scale': f'{url}scale.json', 'queues': names})
        else:
            session.out.line(f'metrics of {what} at {url}metrics , for scaling at {url}scale.json')

    try:
        await host(exporter, listener, tell)
    finally:
        await exporter.aclose()
    return Exit.WELL

"""``torrelque metrics``: what Prometheus is told of queues, once, or by a server of its own."""

import argparse
import importlib.util
import os
import socket
import sys
from typing import TYPE_CHECKING

from .failure import Exit, Failure
from .out import number
from .session import Session, answer

if TYPE_CHECKING:
    from torrelque.monitor import Metrics


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
    with _listen(found.serve) as listener:
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


def _listen(bind: str) -> socket.socket:
    from torrelque import TorrelqueError
    from torrelque.monitor.listening import listen, parse_address

    try:
        host, port = parse_address(bind)
    except TorrelqueError as exc:
        raise Failure(f'--serve: {exc}') from None
    try:
        return listen(host, port)
    except OSError as exc:
        # What is wrong with a name has a number of its own, below 0; of a port the text has the address once more.
        reason = os.strerror(exc.errno) if exc.errno is not None and exc.errno > 0 else exc.strerror
        where = f'{f"[{host}]" if ":" in host else host}:{port}'
        raise Failure(f'nothing can listen at {where}: {reason}', Exit.ILL) from None


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

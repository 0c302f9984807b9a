"""What a command that asks or acts works with: its options, the queues that they name, and how its errors end it.

`answer` is the one way in: it runs the command's coroutine function with a `Session`, and turns what it raises into the
exit codes.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import redis.exceptions

from torrelque import (
    Torrelque,
    TorrelqueConnectionError,
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueServerError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.operate import Operator, known
from torrelque.tasks.address import close_client

from . import target
from .failure import Exit, Failure
from .out import Out
from .server import connect, describe

CONNECTING = 5.0
"""s after which a server that does not answer is away."""


class Session(NamedTuple):
    """What a command works with."""

    found: argparse.Namespace
    """What the parser has found."""
    client: Any
    operator: Operator
    out: Out
    """Where the answer goes."""

    @property
    def queues(self) -> Sequence[Torrelque]:
        """The queues that are meant."""
        return self.operator.queues


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that each command has which asks or acts."""
    group = parser.add_argument_group('which queue, and how it is told')
    group.add_argument('-q', '--queue', metavar='NAME', action='append', default=[],
        help='the queue; else TORRELQUE_QUEUE, else the only one that is known')  # fmt: skip
    group.add_argument('--url', metavar='URL',
        help='its server; else TORRELQUE_URL, REDIS_URL, redis://localhost. Other users of the machine see arguments, '
        'so a password is better in a variable')  # fmt: skip
    group.add_argument('--app', metavar='TARGET',
        help='MODULE:NAME of a Tasks: imports your code, and takes its queues, server and serialiser')  # fmt: skip
    group.add_argument('--json', action='store_true', help='a JSON object a line; nothing is asked')
    group.add_argument('--utc', action='store_true', help='instants in UTC instead of local time')
    group.add_argument('--read-only', action='store_true',
        help='refuse whatever changes something; TORRELQUE_READ_ONLY=1 does the same')  # fmt: skip
    group.add_argument('-v', '--verbose', action='store_true', help='tell on standard error what is done')


def answer(found: argparse.Namespace, call: Callable[[Session], Awaitable[int]], *, several: bool = False) -> int:
    """Carry a command out; its exit code.

    :param call: is given a `Session`, and returns the exit code.
    :param several: whether the command tells of all queues that are known, where none is named.
    :raises Failure: with the exit code that says why.
    """
    logging.basicConfig(level=logging.DEBUG if found.verbose else logging.ERROR, stream=sys.stderr)
    try:
        return asyncio.run(_answer(found, call, several))
    except (TorrelqueConnectionError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as exc:
        if isinstance(exc, (BrokenPipeError, TorrelqueLookupError)):
            raise
        raise Failure(f'the server cannot be reached: {exc}', Exit.AWAY) from exc
    except (TorrelqueServerError, redis.exceptions.ResponseError) as exc:
        raise Failure(f'the server refuses it: {exc}', Exit.REFUSED) from exc
    except TorrelqueLookupError as exc:
        raise Failure(str(exc), Exit.ILL) from exc
    except (TorrelqueTypeError, TorrelqueValueError) as exc:
        raise Failure(str(exc), Exit.USAGE) from exc
    except TorrelqueError as exc:
        raise Failure(str(exc), Exit.REFUSED) from exc


def is_read_only(found: argparse.Namespace | None = None) -> bool:
    """Whether acts are refused: by what the parser has found, or by the environment alone."""
    return found is not None and found.read_only or os.environ.get('TORRELQUE_READ_ONLY', '') not in ('', '0')


async def _answer(found: argparse.Namespace, call: Callable[[Session], Awaitable[int]], several: bool) -> int:
    out = Out(as_json=found.json, utc=found.utc)
    async with _open_queues(found, several) as (client, queues):
        operator = Operator(queues, read_only=is_read_only(found))
        return await call(Session(found, client, operator, out))


@contextlib.asynccontextmanager
async def _open_queues(found: argparse.Namespace, several: bool) -> AsyncIterator[tuple[Any, list[Torrelque]]]:
    if found.app is not None:
        async with _open_app(found) as opened:
            yield opened
        return
    client = connect(found.url)
    try:
        await _check_reached(client)
        names = found.queue or _names_of_environment() or await _names_known(client, several)
        queues = [Torrelque(client, queue=name) for name in dict.fromkeys(names)]
        async with contextlib.AsyncExitStack() as stack:
            for queue in queues:
                await stack.enter_async_context(queue)
            yield client, queues
    finally:
        await close_client(client)


@contextlib.asynccontextmanager
async def _open_app(found: argparse.Namespace) -> AsyncIterator[tuple[Any, list[Torrelque]]]:
    """The queues of an app of the user's."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    app = target.find(found.app)
    if not target.is_app(app):
        raise Failure(f'--app {found.app} is no Tasks: {type(app).__name__}')
    queues = [queue for queue in app.queues if not found.queue or queue.name in found.queue]
    if missing := {*found.queue} - {queue.name for queue in queues}:
        raise Failure(f'--app {found.app} has no queue {", ".join(sorted(missing))}')
    async with contextlib.AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(queue)
        await _check_reached(queues[0].client)
        yield queues[0].client, queues


async def _check_reached(client: Any) -> None:
    """Whether the server answers, before anything is asked that would wait for it for longer."""
    try:
        await asyncio.wait_for(client.ping(), CONNECTING)
    except redis.exceptions.AuthenticationError as exc:
        raise Failure(f'{describe(client)} refuses us: {exc}', Exit.REFUSED) from exc
    except redis.exceptions.ResponseError:
        pass  # a user who may not ping has reached the server all the same
    except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, asyncio.TimeoutError, OSError) as exc:
        reason = str(exc) or f'no answer in {CONNECTING:g} s'
        raise Failure(f'{describe(client)} cannot be reached: {reason}', Exit.AWAY) from exc


def _names_of_environment() -> list[str]:
    return [name for name in os.environ.get('TORRELQUE_QUEUE', '').split(',') if name]


async def _names_known(client: Any, several: bool) -> list[str]:
    try:
        names = [queue.name for queue in await known(client)]
    except redis.exceptions.ResponseError:
        names = []
    if len(names) == 1 or several and names:
        return names
    if names:
        raise Failure(f'name the queue with -q; known are {", ".join(names)}')
    raise Failure(
        'name the queue with -q: none is known here. Names are noted by workers with a heartbeat and by this command; '
        "'torrelque queues --scan' looks for keys"
    )

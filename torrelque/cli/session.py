"""What a command that asks or acts works with: its options, the queues that they name, and how its errors end it.

`answer` is the one way in: it runs the command's coroutine function with a `Session`, and turns what it raises into the
exit codes.  What it needs is imported when it runs, so that help is fast.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .clean import as_text, shown, without_secrets
from .failure import Exit, Failure, is_unwritable
from .options import add_file
from .out import Out
from .program import Program

if TYPE_CHECKING:
    from torrelque import Torrelque, TorrelqueQueue
    from torrelque.operate import Operator

CONNECTING = 5.0
"""s after which a server that does not answer is away."""
NOTING = 1.0
"""s that a command waits at its end for the names of its queues to be noted."""


class Session(NamedTuple):
    """What a command works with."""

    found: argparse.Namespace
    """What the parser has found."""
    client: Any
    operator: 'Operator'
    out: Out
    """Where the answer goes."""

    @property
    def queues(self) -> 'Sequence[TorrelqueQueue]':
        """The queues that are meant."""
        return self.operator.queues

    @property
    def several(self) -> bool:
        """Whether there are several, so that each row says of which it is."""
        return len(self.queues) > 1

    def command(self, words: str, queue: str | None = None) -> str:
        """A command line for people to copy: of the same server and queue as this one.

        :param words: the command, quoted for a shell: ``torrelque errors``.
        :param queue: the name of the queue that it is about.
        """
        if queue is not None and not re.search(' -q[^ ]*', words):
            words += f' -q {quoted(queue)}'
        program: Program = self.found.program
        words = program.tells(words)
        given = (
            ('--app', self.found.app, program.app), ('--url', self.found.url, program.url),
            ('-c', self.found.config, None),
        )  # fmt: skip
        for name, value, known in given:
            if value and value != known and without_secrets(value) == value:
                words += f' {name} {quoted(value)}'
        return words


def quoted(text: str) -> str:
    """A word for a shell, which can be copied from the terminal whatever is in it."""
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped, text))}'"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f'\\x{code - 0xDC00:02x}'  # a byte that is no UTF-8
    if 0x80 <= code <= 0xFF:
        return f'\\u{code:04x}'  # by two digits a shell understands a byte
    return f'\\{character}' if character in "\\'" else shown(character)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that each command has which asks or acts."""
    group = parser.add_argument_group('which queue, and how it is told')
    group.add_argument('-q', '--queue', metavar='NAME', action='append', default=[],
        help='the queue, or one of several; else those of TORRELQUE_QUEUE, a,b; else that of the file; else the only '
        'one that is known')  # fmt: skip
    group.add_argument('--url', metavar='URL',
        help='its server; else TORRELQUE_URL, REDIS_URL, that of the file, redis://localhost. Other users of the '
        'machine see arguments, so a password is better in a variable')  # fmt: skip
    add_file(group)
    group.add_argument('--app', metavar='TARGET',
        help='MODULE:NAME of a Tasks: imports your code, and takes its queues, server and serialiser')  # fmt: skip
    group.add_argument('--json', action='store_true', help='a JSON object a line; nothing is asked')
    group.add_argument('--utc', action='store_true', help='instants in UTC instead of local time')
    group.add_argument('--read-only', action='store_true',
        help='refuse whatever changes something; TORRELQUE_READ_ONLY=1 does the same')  # fmt: skip
    group.add_argument('-v', '--verbose', action='store_true', help='tell on standard error what is done')


def is_read_only(found: argparse.Namespace | None = None) -> bool:
    """Whether acts are refused: by what the parser has found, or by the environment alone."""
    return found is not None and found.read_only or os.environ.get('TORRELQUE_READ_ONLY', '') not in ('', '0')


def answer(found: argparse.Namespace, call: Callable[[Session], Awaitable[int]], *, several: bool = False) -> int:
    """Carry a command out; its exit code.

    :param call: is given a `Session`, and returns the exit code.
    :param several: whether the command tells of all queues that are known, where none is named.
    :raises Failure: with the exit code that says why.
    """
    return _run(found, lambda: _answer(found, call, several))


def answer_of_server(found: argparse.Namespace, call: Callable[[Any, Out], Awaitable[int]]) -> int:
    """The same of a command that is about the server, and is given a client of it."""
    return _run(found, lambda: _answer_of_server(found, call))


def answer_alone(found: argparse.Namespace, call: Callable[[Out], Awaitable[int]]) -> int:
    """The same of a command that brings a server of its own."""
    return _run(found, lambda: call(Out(as_json=found.json, utc=found.utc)))


# How a command is run, and ends


def _run(found: argparse.Namespace, call: Callable[[], Any]) -> int:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine('%(levelname)s %(name)s: %(message)s'))
    # Of others, such as the client library, only that is told which is more than what they do.
    handler.addFilter(lambda record: record.levelno >= logging.INFO or record.name.startswith('torrelque'))
    logging.basicConfig(level=logging.DEBUG if found.verbose else logging.ERROR, handlers=[handler])
    with _failing():
        code: int = asyncio.run(call())
    return code


class _OneLine(logging.Formatter):
    """A line of the log that may be shown, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """Turn what a command raises into the way it ends."""
    import redis.exceptions

    from torrelque import (
        TorrelqueConnectionError,
        TorrelqueError,
        TorrelqueLookupError,
        TorrelqueServerError,
        TorrelqueTypeError,
        TorrelqueValueError,
    )

    try:
        yield
    except (BrokenPipeError, Failure):
        raise
    except TorrelqueLookupError as exc:
        raise Failure(str(exc), Exit.ILL) from exc
    except (TorrelqueServerError, redis.exceptions.AuthenticationError, redis.exceptions.ResponseError) as exc:
        raise Failure(f'the server refuses it: {exc}', Exit.REFUSED) from exc
    except _away(TorrelqueConnectionError, ConnectionError) as exc:
        raise Failure(f'the server cannot be reached: {exc}', Exit.AWAY) from exc
    except (TorrelqueTypeError, TorrelqueValueError) as exc:
        raise Failure(str(exc), Exit.USAGE) from exc
    except TorrelqueError as exc:
        raise Failure(str(exc), Exit.REFUSED) from exc
    except Exception as exc:
        if is_unwritable(exc):
            raise
        # Whatever is in it, its traceback is shown as all else is, and not by Python.
        raise Failure(f'the command has failed: {type(exc).__name__}', Exit.ILL, exc) from exc


async def _answer(found: argparse.Namespace, call: Callable[[Session], Awaitable[int]], several: bool) -> int:
    from torrelque.operate import Operator
    from torrelque.operate.parts import away_of

    out = Out(as_json=found.json, utc=found.utc)
    async with _open_queues(found, several) as (client, queues):
        operator = Operator(queues, read_only=is_read_only(found))
        meeting = asyncio.ensure_future(_meet(found, queues))
        try:
            code = await call(Session(found, client, operator, out))
            for shard in (shard for queue in queues for shard in away_of(queue)):
                out.tell(f'queue {shard.queue!r}: {shard} is away, and what is told is of the others: {shard.why}')
        finally:
            await asyncio.wait([meeting], timeout=NOTING)
            meeting.cancel()
        if meeting.done() and not meeting.cancelled():
            for complaint in meeting.result():
                out.tell(complaint)
        return code


async def _answer_of_server(found: argparse.Namespace, call: Callable[[Any, Out], Awaitable[int]]) -> int:
    async with _open_client(found) as client:
        return await call(client, Out(as_json=found.json, utc=found.utc))


async def _meet(found: argparse.Namespace, queues: 'Sequence[TorrelqueQueue]') -> list[str]:
    """Note that the queues were seen, but those of which there is nothing: a slip must not become a queue.  What a
    command that only looks has to tell of these."""
    from torrelque.operate import note

    from .filed import declares
    from .naming import is_there, unknown

    complaints: list[str] = []
    # An app knows the names of its queues, and the check complains for itself.
    silent = found.command.acts or found.app is not None or found.command.name == 'check'
    for queue in queues:
        # What cannot be noted is no failure of the command, which has its own calls refused.
        with contextlib.suppress(Exception):
            if not await is_there(queue):
                fine = silent or declares(found, queue.name)
                complaints += filter(None, [None if fine else await unknown(queue)])
            elif not is_read_only(found):
                await note(queue)
    return complaints


# Which server, and which queues


@contextlib.asynccontextmanager
async def _open_client(found: argparse.Namespace, names: Sequence[str] = ()) -> AsyncIterator[Any]:
    """A client of the server that is meant, once that has answered."""
    from torrelque.tasks.address import close_client
    from torrelque.worker.places import clients_of

    from .filed import servers_of, url_of
    from .server import connect, is_named

    if found.app is not None:
        app = find_app(found)
        clients = clients_of(app.queues[0])
        client = clients[0]
        try:
            client = await _find_reached(clients)
            yield client
        finally:
            if (close := getattr(app, 'aclose', None)) is not None:
                await close()
            # What has not gone through the app's own objects is left open by them.
            for one in clients:
                await close_client(one)
        return
    servers = servers_of(found, names)
    url = None if servers else found.url or url_of(found)
    clients = (*map(connect, servers),) if servers else (connect(url),)
    try:
        try:
            client = await _find_reached(clients)
        except Failure as exc:
            if exc.code == Exit.AWAY and not (servers or is_named(url)):
                raise Failure(f'{exc}; --url or TORRELQUE_URL names another', exc.code) from exc
            raise
        yield client
    finally:
        for one in clients:
            await close_client(one)


@contextlib.asynccontextmanager
async def _open_queues(found: argparse.Namespace, several: bool) -> 'AsyncIterator[tuple[Any, list[TorrelqueQueue]]]':
    from torrelque import Torrelque
    from torrelque.tasks.address import close_client
    from torrelque.worker.places import clients_of

    from .filed import names_of, queues_of
    from .naming import as_it_is

    names = [*dict.fromkeys(found.queue or found.program.queues or _names_of_environment())]
    async with _open_client(found, names) as client, contextlib.AsyncExitStack() as stack:
        if found.app is None:
            # The queues of an app are in its code, and known once its worker has run.
            if not names and (declared := names_of(found)) is not None:
                names = [*dict.fromkeys((*declared, *(queue.name for queue in await _find_queues(client))))]
                if len(names) > 1 and not several:
                    raise Failure(f'name the queue with -q; there are {", ".join(names)}')
            named = queues_of(found, client, names, several)
            named = named or [Torrelque(client, queue=name) for name in names]
            queues = [await as_it_is(queue) for queue in named or await _queues_known(client, several)]
        else:
            queues = _queues_of_app(found, names)
        # A call of an app may go to a queue of it that is not named, and whose connection is closed as well.
        for queue in queues if found.app is None else find_app(found).queues:
            for one in clients_of(queue) if found.app is None else ():
                if one is not client:
                    # One of several servers has clients of its own.
                    stack.push_async_callback(close_client, one)
            await stack.enter_async_context(queue)
        yield client, queues


def find_app(found: argparse.Namespace) -> Any:
    """An app of the user's, whose code is imported; once for a command line, however often it is asked for."""
    from . import target

    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    app = target.find(found.app)
    if not (target.is_app(app) or target.is_several(app)):
        raise Failure(f'--app {found.app} is no Tasks: {type(app).__name__}')
    return app


def _queues_of_app(found: argparse.Namespace, names: Sequence[str]) -> 'list[TorrelqueQueue]':
    queues: list[TorrelqueQueue] = [*find_app(found).queues]
    if missing := {*names} - {queue.name for queue in queues}:
        has = ', '.join(queue.name for queue in queues)
        raise Failure(f'--app {found.app} has no queue {", ".join(sorted(missing))}; it has {has}')
    return [queue for queue in queues if not names or queue.name in names]


async def _find_reached(clients: Sequence[Any]) -> Any:
    """The first of the servers of a queue that answers: the others can be told of where one is away."""
    if len(clients) == 1:
        await _check_reached(clients[0])
        return clients[0]
    looks = {asyncio.ensure_future(_check_reached(client)): client for client in clients}
    try:
        for look in asyncio.as_completed([*looks]):
            with contextlib.suppress(Failure):
                await look
                break
        answered = [look for look in looks if look.done() and not look.exception()]
        return looks[answered[0]] if answered else await next(iter(looks))
    finally:
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


async def _check_reached(client: Any) -> None:
    """Whether the server answers, before anything is asked that would wait for it for longer."""
    import redis.asyncio.sentinel
    import redis.exceptions

    from .server import describe

    try:
        await asyncio.wait_for(client.ping(), CONNECTING)
    except redis.exceptions.ResponseError:
        pass  # a user who may not ping has reached the server all the same
    except redis.asyncio.sentinel.MasterNotFoundError as exc:
        # The error itself has the Sentinels with all their arguments.
        raise Failure(f'{describe(client)} cannot be reached: its Sentinels name no primary', Exit.AWAY) from exc
    except _away(asyncio.TimeoutError, OSError) as exc:
        # Of a unix socket, and of a Cluster, the refusal is the cause of another error.
        if any(isinstance(one, redis.exceptions.AuthenticationError) for one in (exc, exc.__cause__)):
            raise Failure(_refusal(describe(client), str(exc)), Exit.REFUSED) from exc
        reason = str(exc) or f'no answer in {CONNECTING:g} s'
        raise Failure(f'{describe(client)} cannot be reached: {reason}', Exit.AWAY) from exc


def _refusal(server: str, message: str) -> str:
    """What is told of a server that wants another password, and what to do."""
    where = 'it belongs into the address, TORRELQUE_URL=redis://:PASSWORD@HOST or redis://USER:PASSWORD@HOST'
    if 'HELLO' in message or 'equired' in message:
        return f'{server} wants a password: {where}'
    return f'{server} refuses the user or the password: {where}; it says: {message}'


def _away(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """The errors of the client library, of which that of a Cluster is not one, and others."""
    import redis.exceptions

    return redis.exceptions.RedisError, redis.exceptions.RedisClusterException, *more


def _names_of_environment() -> list[str]:
    return [name for name in as_text(os.environ.get('TORRELQUE_QUEUE', '')).split(',') if name]


async def _find_queues(client: Any) -> 'list[Torrelque]':
    """The queues of the server, as far as they are known."""
    from torrelque import Torrelque, TorrelqueValueError

    from .naming import read_names

    queues = []
    for one in await read_names(client):
        # Whoever writes to the registry may have put anything there.
        with contextlib.suppress(TorrelqueValueError):
            queues.append(Torrelque(client, queue=one.name))
    return queues


async def _queues_known(client: Any, several: bool) -> 'list[Torrelque]':
    """The only queue that is known, or all of them."""
    queues = await _find_queues(client)
    if len(queues) == 1 or several and queues:
        return queues
    if queues:
        raise Failure(f'name the queue with -q; known are {", ".join(queue.name for queue in queues)}')
    raise Failure(
        'name the queue with -q: none is known here. Names are noted by workers with a heartbeat and by this command; '
        "'torrelque queues --scan' looks for keys"
    )

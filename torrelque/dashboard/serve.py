"""A dashboard as a server of its own: who is answered, and how it ends.

Any page that a browser has open can send requests to a server on the same machine, and make it look like its own site
by a name that it has changed the address of.  So a request is answered only where it names this server as one does who
means it; and with a password, only who knows that.

Other layers may import the names in `__all__`.
"""

import asyncio
import base64
import binascii
import contextlib
import hmac
import ipaddress
import re
import signal
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from torrelque.monitor.listening import listen

from .access import Visitor, check_grants

__all__ = ['Service', 'is_local', 'listen', 'permit_all', 'serve', 'url_of']

VISITOR = 'torrelque.visitor'
"""What of a scope has the name that a visitor has given with the password."""
HERE = ('localhost', '127.0.0.1', '::1')
"""Names that this machine has for itself."""
LONGEST = 200
"""Characters of the name of a visitor."""
PATIENCE = 0.5
"""s after which, at the end, connections are cut whose browser takes nothing any more."""
CLOSING = 1
"""s after which requests are cancelled that have not ended by then."""

_HOST = re.compile(r'(?:\[([0-9a-f:.]{2,45})\]|([^\s:@/\[\]]{1,255}))(?::[0-9]{0,5})?', re.IGNORECASE)
_TEXT = {'cache-control': 'no-store', 'x-content-type-options': 'nosniff'}
_ASK = {**_TEXT, 'www-authenticate': 'Basic realm="torrelque", charset="UTF-8"'}


# Where it listens


def is_local(listener: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def url_of(listener: socket.socket, names: Iterable[str] = ()) -> str:
    """What to type into a browser.

    :param names: further names that it answers for.
    """
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        # That is no address that could be asked for.
        host = next(iter(names), 'localhost')
    host = host.strip('[]')
    return f'http://{f"[{host}]" if ":" in host else host}:{port}/'


def name_of(host: str) -> str | None:
    """What a Host header names, without the port, as `Guard` compares it; None where it is none."""
    match = _HOST.fullmatch(host)
    if match is None:
        return None
    name = (match[1] or match[2]).lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None if match[1] else name
    # A name in brackets is an address of the sixth version, and no other is.
    return _text_of(address) if bool(match[1]) == (address.version == 6) else None


def _text_of(address: 'ipaddress.IPv4Address | ipaddress.IPv6Address') -> str:
    mapped = getattr(address, 'ipv4_mapped', None)
    return str(mapped or address)


# Who is answered


def permit_all(name: str, allow: Iterable[str] = ()) -> Callable[[Request], Visitor]:
    """A ``permit`` for a dashboard behind a `Guard`, which has seen to it who comes.

    :param name: of visitors who have given none.
    :param allow: what they may do.
    """
    grants = check_grants(allow)

    def permit(request: Request) -> Visitor:
        return Visitor(request.scope.get(VISITOR) or name, grants)

    return permit


class Guard:
    """Stands before an application: refuses requests that are not meant for it, asks for the password, and tells
    streams when the server ends.

    :param names: names that it answers for, beside those of this machine and the address that a request came in at.
    :param password: None is none.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = (), password: str | None = None) -> None:
        self._app = app
        self._names = frozenset(filter(None, map(name_of, map(_bracketed, (*HERE, *names)))))
        self._password = None if password is None else password.encode('utf-8', 'surrogateescape')
        self._over = asyncio.Event()

    def close(self) -> None:
        """Tell all streams that whoever reads them is gone, so that they end."""
        self._over.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope['type'] == 'websocket':
            await send({'type': 'websocket.close', 'code': 1008})
        elif scope['type'] != 'http':
            await self._app(scope, receive, send)
        elif (refusal := self._refuse(scope)) is not None:
            await refusal(scope, receive, send)
        else:
            await self._pass(scope, receive, send)

    def _refuse(self, scope: Scope) -> PlainTextResponse | None:
        """Why a request is not answered."""
        hosts = [value for name, value in scope['headers'] if name == b'host']
        host = name_of(hosts[0].decode('latin-1')) if len(hosts) == 1 else None
        if host is None:
            return PlainTextResponse('The request does not say which host it is for.\n', 400, _TEXT)
        if host not in self._names and host != _own_address(scope):
            known = f'This dashboard is not known as {host[:100]!a}.'
            return PlainTextResponse(f'{known}  If it is meant to be, start it with  --host NAME\n', 421, _TEXT)
        if self._password is None:
            return None
        visitor = _visitor_of(scope, self._password)
        if visitor is None:
            return PlainTextResponse('This dashboard wants a password, and any name.\n', 401, _ASK)
        scope[VISITOR] = visitor
        return None

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = ended = False

        async def note(message: Message) -> None:
            nonlocal begun, ended
            await send(message)
            begun = True
            ended = message['type'] == 'http.response.body' and not message.get('more_body', False)

        try:
            await self._app(scope, self._until_over(receive), note)
        except asyncio.CancelledError:
            # The server has no more time for it, and says so.
            if not self._over.is_set():
                raise
        if begun and not ended and self._over.is_set():
            # A stream that was told that nobody reads it does not write its end.
            await send({'type': 'http.response.body', 'body': b'', 'more_body': False})

    def _until_over(self, receive: Receive) -> Receive:
        async def listen() -> Message:
            waiting: list[asyncio.Future[Any]] = [
                asyncio.ensure_future(receive()), asyncio.ensure_future(self._over.wait())
            ]  # fmt: skip
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                # What has come already is taken before the end: an act that was sent is done.
                return waiting[0].result() if waiting[0].done() else {'type': 'http.disconnect'}
            finally:
                for one in waiting:
                    one.cancel()

        return listen


def _bracketed(name: str) -> str:
    return f'[{name}]' if ':' in name and name[0] != '[' else name


def _own_address(scope: Scope) -> str | None:
    """The address of this machine that a request came in at; nobody can have a name mean another one."""
    try:
        return _text_of(ipaddress.ip_address((scope.get('server') or ('',))[0]))
    except ValueError:
        return None


def _visitor_of(scope: Scope, password: bytes) -> str | None:
    """The name that was given with the password, '' where there is none; None where it is not the password."""
    given = [value for name, value in scope['headers'] if name == b'authorization']
    kind, _, text = (given[0] if len(given) == 1 else b'').partition(b' ')
    try:
        name, colon, found = base64.b64decode(text.strip(), validate=True).partition(b':')
    except binascii.Error:
        return None
    if kind.lower() != b'basic' or not colon or not hmac.compare_digest(found, password):
        return None
    shown = name.decode('utf-8', 'replace')
    return ''.join(letter if letter.isprintable() else '\ufffd' for letter in shown)[:LONGEST]


# How it is served


class Service(NamedTuple):
    """What is served."""

    app: ASGIApp
    listener: socket.socket
    names: Collection[str] = ()
    password: str | None = None
    on_ready: Callable[[], object] = lambda: None
    """Called once it answers."""
    on_end: Callable[[], object] = lambda: None
    """Called when it is told to end, before anything is waited for."""


class _Server(uvicorn.Server):
    """A server that ends soon, whatever its browsers do."""

    def __init__(self, config: uvicorn.Config, service: Service, guard: Guard) -> None:
        super().__init__(config)
        self._service = service
        self._guard = guard

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are heard by `serve`, because these would be raised again at the end.
        yield

    def stop(self) -> None:
        """End."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._service.on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.on_end()
        self._guard.close()
        cutting = asyncio.get_running_loop().call_later(PATIENCE, self._cut)
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    def _cut(self) -> None:
        """End connections whose browser takes nothing, so that nobody waits for it."""
        for connection in [*self.server_state.connections]:
            transport: Any = connection.transport
            transport.abort()


async def serve(service: Service) -> None:
    """Serve an application until SIGINT or SIGTERM comes; then end within two seconds, with streams open, too.

    It is called in the main thread, and closes the listener.
    """
    guard = Guard(service.app, service.names, service.password)
    config = uvicorn.Config(
        guard, lifespan='off', ws='none', log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=CLOSING,
    )  # fmt: skip
    server = _Server(config, service, guard)
    loop = asyncio.get_running_loop()
    signals = signal.SIGINT, signal.SIGTERM
    for sign in signals:
        loop.add_signal_handler(sign, server.stop)
    try:
        await server.serve([service.listener])
    finally:
        for sign in signals:
            loop.remove_signal_handler(sign)

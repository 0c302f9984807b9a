"""Sinks: who is told, each in its own time.

One that hangs, raises or is slow harms nobody else: it is waited for 20 s at the most, and what still goes on then is
left to itself, and not begun again until it has come back.  A sink is given one notice after the other.
"""

import asyncio
import base64
import contextlib
import http.client
import inspect
import json
import logging
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torrelque import Duration, TorrelqueError, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

from .notice import Notice

logger = logging.getLogger('torrelque.monitor')

IN_LINE = 8.0
"""s that a notice waits for those that the sink was given before."""
PATIENCE = 20.0
"""s that a sink has for one notice; the right to send lasts for 30 s, and both together are shorter."""
PAUSES = (0.5, 1.0)
"""s between the tries of a webhook."""
MOST = 1000
"""Bytes of an answer that are read."""
LOG = 'log'
"""The name of the sink that is always there."""
PASSING = (408, 425, 429)
"""Answers after which the same request may do better, beside those of 500 and above."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows none: an address that was not configured is not told."""

    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        return None


class Webhook:
    """Sends notices to an address by POST, as JSON; the field ``text`` is what Slack, Mattermost and others show.

    It is called in a thread, and may take 16 s: three tries of 5 s.  A redirect is not followed, and counts as a
    failure.  The address is a secret, so it is never logged.

    :param url: of ``http`` or ``https``; a user and a password in it are sent as such.
    :param timeout: s without a word of the other side, after which a try has failed; 5 at the most.
    :raises TorrelqueError: the address cannot be meant.
    """

    def __init__(self, url: str, *, timeout: Duration = 5) -> None:
        if not isinstance(url, str):
            raise TorrelqueTypeError(f'a webhook must be a str, not {type(url).__name__}')
        self._timeout = check.check_seconds(timeout, 'timeout', positive=True, most=5)
        parts, self._host = _split(url)
        self._headers = {'Content-Type': 'application/json', 'User-Agent': 'torrelque'}
        if parts.username is not None:
            given = f'{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or "")}'
            self._headers['Authorization'] = f'Basic {base64.b64encode(given.encode()).decode()}'
        self._url = urllib.parse.urlunsplit(parts._replace(netloc=self._host, fragment=''))
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __repr__(self) -> str:
        return f'<Webhook of {self._host}>'

    def __call__(self, notice: Notice) -> None:
        """Send a notice.

        :raises TorrelqueError: the other side has not taken it.
        """
        body = json.dumps(notice.as_json()).encode()
        for pause in (*PAUSES, None):
            error, passing = self._try(body)
            if error is None:
                return
            if pause is None or not passing:
                raise TorrelqueError(f'{self._host} has not taken it: {error}')
            time.sleep(pause)

    def _try(self, body: bytes) -> tuple[str | None, bool]:
        """What is wrong, without the address, and whether it may be over soon."""
        request = urllib.request.Request(self._url, body, self._headers, method='POST')
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                answer.read(MOST)
        except urllib.error.HTTPError as exc:
            exc.close()
            what = 'it redirects elsewhere' if 300 <= exc.code < 400 else 'its answer'
            return f'{what}, {exc.code}', exc.code >= 500 or exc.code in PASSING
        except urllib.error.URLError as exc:
            return _reason(exc.reason), True
        except (OSError, http.client.HTTPException) as exc:
            return _reason(exc), True
        return None, False


def _split(url: str) -> tuple[urllib.parse.SplitResult, str]:
    """An address, and the host of it with its port."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
        host = (host or '').encode('idna' if host and not host.isascii() else 'ascii').decode()
    except ValueError:
        parts, host, port = urllib.parse.urlsplit(''), '', None
    if parts.scheme not in ('http', 'https') or not host or not url.isprintable() or ' ' in url or not url.isascii():
        raise TorrelqueValueError('a webhook must be an address of http or https, such as https://example.com/hook')
    host = f'[{host}]' if ':' in host else host
    return parts, host if port is None else f'{host}:{port}'


def _reason(error: Any) -> str:
    """An error without what it may have of the address."""
    if isinstance(error, TimeoutError):
        return 'no answer in time'
    if isinstance(error, socket.gaierror):
        return 'its name is not known'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


Sink = Callable[[Notice], Any]
"""Who is told: a function that is called with a `Notice`, in a thread, or a coroutine function; such as a `Webhook`."""


def log(notice: Notice) -> None:
    """Write a notice to the log."""
    logger.warning('%s', notice.text)


def sinks_of(table: Mapping[str, Any]) -> dict[str, Sink]:
    """The sinks of the table ``[sinks]`` of a configuration file, by their names.

    :raises TorrelqueError: something of it cannot be meant.
    """
    if not isinstance(table, Mapping):
        raise TorrelqueTypeError(f'sinks must be a table, not {table!r}')
    found: dict[str, Sink] = {}
    for name, given in table.items():
        if not isinstance(given, Mapping) or {*given} - {'webhook', 'timeout'} or 'webhook' not in given:
            raise TorrelqueValueError(f'sink {name!r} must be a table with a webhook, and maybe a timeout')
        if name == LOG:
            raise TorrelqueValueError(f'sink {LOG!r} is there already, and writes to the log')
        try:
            found[name] = Webhook(given['webhook'], **({'timeout': given['timeout']} if 'timeout' in given else {}))
        except (TorrelqueTypeError, TorrelqueValueError) as exc:
            raise TorrelqueValueError(f'sink {name!r}: {exc}') from None
    return found


def named(given: Mapping[str, Sink] | Iterable[Sink] | Sink) -> dict[str, Sink]:
    """Sinks by their names: functions have one of their own.

    :raises TorrelqueError: one cannot be called, or two have one name.
    """
    if isinstance(given, Mapping):
        mapping: Any = given  # a class of functions that are mappings, which a checker thinks of, there is not
        found: dict[str, Sink] = {**mapping}
    else:
        several = [given] if callable(given) else [*given]
        found = {getattr(sink, '__name__', type(sink).__name__.lower()): sink for sink in several}
        if len(found) < len(several):
            raise TorrelqueValueError('two sinks have the same name; give a mapping of names to sinks')
    for name, sink in found.items():
        if check.check_name(name, 'the name of a sink') == LOG:
            raise TorrelqueValueError(f'sink {LOG!r} is there already, and writes to the log')
        if len(name) > 100:
            raise TorrelqueValueError('the name of a sink must be 100 characters at the most')
        check.check_call(sink, f'sink {name!r}', 'notice')
    return found


class Outlet:
    """A sink, and what still goes on there."""

    def __init__(self, name: str, sink: Sink) -> None:
        self.name = name
        self._sink = sink
        self._going_on: asyncio.Future[Any] | None = None
        self._hangs = False

    async def tell(self, notice: Notice) -> str | None:
        """Tell a notice, after those before; what went wrong."""
        call = self._sink
        if call is log:
            call(notice)
            return None
        if not await self._come_free():
            return 'the last notice still goes on there'
        self._hangs = False
        going_on = self._going_on = asyncio.ensure_future(_call(call, notice))
        going_on.add_done_callback(_look)
        try:
            await asyncio.wait([going_on], timeout=PATIENCE)
            if not going_on.done():
                self._hangs = True
                return f'it has not come back in {PATIENCE:g} s'
        finally:
            # A thread goes on, and a coroutine function may swallow it.
            if check.is_async(call) and not going_on.done():
                going_on.cancel()
        if going_on.cancelled():
            return 'it was cancelled'
        if (error := going_on.exception()) is not None:
            return str(error) if isinstance(error, TorrelqueError) else f'it raised {type(error).__name__}: {error}'
        return None

    async def _come_free(self) -> bool:
        """Wait for the notices before; whether the sink is free.  One that hangs is not waited for."""
        loop = asyncio.get_running_loop()
        end = loop.time() + IN_LINE
        while (before := self._going_on) is not None and not before.done():
            if self._hangs or loop.time() >= end:
                return False
            await asyncio.wait([before], timeout=end - loop.time())
        return True


async def _call(sink: Sink, notice: Notice) -> None:
    told = sink(notice) if check.is_async(sink) else await in_thread(lambda: sink(notice))
    if inspect.isawaitable(told):
        await told


def _look(future: 'asyncio.Future[Any]') -> None:
    """Whoever waited may be gone, so that nobody hears of an error."""
    if not future.cancelled():
        future.exception()


def in_thread(call: Callable[[], Any]) -> 'asyncio.Future[Any]':
    """Call a function in a thread that nobody waits for: not the event loop at its end, nor the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def work() -> None:
        value, error = None, None
        try:
            value = call()
        except Exception as exc:
            error = exc
        except BaseException as exc:
            error = RuntimeError(type(exc).__name__)
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name='torrelque sink', daemon=True).start()
    return future

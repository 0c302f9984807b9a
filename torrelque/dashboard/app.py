"""The dashboard as an ASGI application: routes, and what becomes of each request."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
import redis.exceptions
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from torrelque import (
    TorrelqueError,
    TorrelqueLookupError,
    TorrelqueServerError,
    TorrelqueTypeError,
    TorrelqueValueError,
)
from torrelque.operate import Act
from torrelque.operate.parts import AwayError
from torrelque.protocol import check

from . import acting
from .access import Permit, Redirect, RefusalError, Visitor, ask, check_permit
from .guard import LONGEST, Headed, check_origins, why_foreign
from .links import Query, read_pairs
from .live import AWAY, Parts
from .page import Answer, Page, plain, show
from .pages import PAGES
from .redacting import Shield
from .rendering import render, render_parts
from .site import Site, find_parameters
from .visit import LONG_PATIENCE, PATIENCE, Visit

if TYPE_CHECKING:
    from torrelque.monitor import Alerts

logger = logging.getLogger('torrelque.dashboard')

GOOD = 'public, max-age=31536000, immutable'
"""For how long a browser keeps an asset: its name changes with it."""


class Stream(EventSourceResponse):
    """A stream that ends when its page takes nothing for half a minute, and says no more about it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        self.send_timeout = 30
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            pass


class Dashboard:
    """An ASGI application: pages of some queues, to be mounted under any path, or to be served alone.

    It starts with the first request, or ``start()``, and needs no lifespan.  It uses the queue objects in the event
    loop that they are used in elsewhere, and does not close them.  When a request is cancelled, an act that it has
    begun goes on.

    :param queues: a `torrelque.Torrelque`, an app (`torrelque.tasks.Tasks`), or several.
    :param permit: decides who may look, and what they may do beside: it is called with each request (of Starlette), may
        be a coroutine function, and answers a `Visitor`, a `Redirect`, or None, which is nobody.
    :param title: what the pages are called.
    :param payloads: 'redacted' hides what looks secret in payloads and results, 'hidden' all of them, 'full' nothing.
        Visitors with the grant ``payload`` see all.
    :param redact: more names of fields whose values are hidden.
    :param show: a function that is given a task, and answers what is shown of a payload in a format of your own: a
        text, or an object of fields.
    :param origins: origins, such as ``https://queues.example.com``, whose pages may act beside those of the host that
        a request names; of a proxy that changes it.
    :param links: addresses elsewhere, with ``{task_id}``, ``{queue}``, ``{function}``, ``{group}``, by their names.
    :param on_act: is called with each `torrelque.operate.Act` that was done here; a coroutine function is awaited.
    :param alerts: is run as long as the dashboard is there.
    :raises TorrelqueError: something of these cannot be meant.
    """

    def __init__(
        self,
        queues: Any,
        *,
        permit: Permit,
        title: str = 'Queues',
        payloads: str = 'redacted',
        redact: Iterable[str] = (),
        show: Callable[[Any], Any] | None = None,
        origins: Iterable[str] = (),
        links: Mapping[str, str] | None = None,
        on_act: Callable[[Act], Any] | None = None,
        alerts: 'Alerts | None' = None,
    ) -> None:
        # Legend.  _alerts: what looks at rules here, if anything does, and _looking, once it does.
        self._alerts = alerts
        self._looking: asyncio.Task[None] | None = None
        parameters = find_parameters(queues)
        shield = Shield(payloads, redact, show, lambda name: parameters.get(name, ()))
        on_act = None if on_act is None else check.check_call(on_act, 'on_act', 'act')
        self._site = Site(
            queues, check_permit(permit), title, shield, check_origins(origins), links or {}, on_act
        )
        self._app = self._make_app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or take part in the lifespan of a server."""
        if scope['type'] == 'lifespan':
            return await self._live(receive, send)
        self.start()
        if scope['type'] == 'http' and not path_of(scope):
            # Links are relative to a folder, so its name needs the slash.
            folder = scope['path'].rstrip('/').rpartition('/')[2]
            return await RedirectResponse(f'./{quote(folder)}/' if folder else '/')(scope, receive, send)
        await self._app(scope, receive, send)
        return None

    def start(self) -> None:
        """Begin what the dashboard does by itself, in the running event loop, without waiting for a request: it looks
        at alerts.  A server that tells it of its lifespan need not call it."""
        if self._alerts is not None and self._looking is None:
            self._looking = asyncio.ensure_future(self._alerts.run())

    def close(self) -> None:
        """End all streams, and open no more: a server that is to stop calls it first."""
        self._site.sampler.close()

    async def aclose(self) -> None:
        """End what the dashboard does by itself: streams, and acts that go on, which are ended where they are.  The
        queues stay open."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        await acting.aclose(self._site)
        await self._site.aclose()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message['type'] == 'lifespan.shutdown':
                await self.aclose()
                return await send({'type': 'lifespan.shutdown.complete'})
            self.start()
            await send({'type': 'lifespan.startup.complete'})

    def _make_app(self) -> Starlette:
        site = self._site
        routes = [Route(f'/{asset.name}', self._asset(name), name=name) for name, asset in site.assets.items()]
        for page in PAGES:
            routes.append(Route(f'/{page.name}', self._page(page)))
            routes.append(Route(f'/{page.name or "overview"}.json', self._page(page, as_json=True)))
        routes.append(Route('/scale.json', self._answer(self._scale)))
        routes.append(Route('/live', self._answer(self._stream)))
        routes.append(Route('/act', self._answer(self._act), methods=['POST']))
        app = Starlette(
            routes=routes,
            middleware=[Middleware(Headed), Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)],
            exception_handlers={HTTPException: self._tell_missing},
        )
        app.router.redirect_slashes = False
        return app

    # What becomes of a request

    def _answer(
        self, call: Callable[[Request, Visitor], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Ask who it is, and turn whatever goes wrong into a page."""

        async def answer(request: Request) -> Response:
            asked = request
            if request.method == 'POST':
                # What is read once is there for `permit` too, which may look for a token in the form.
                try:
                    receive = held(await read_body(request))
                except RefusalError as exc:
                    return self._tell(request, None, exc.status, exc.text)
                asked, request = Request(request.scope, receive), Request(request.scope, receive)
            try:
                visitor = await ask(self._site.permit, asked)
            except HTTPException as exc:
                # Whatever else it raises is the application's, and nothing is told of it.
                return self._tell(request, None, exc.status_code, exc.detail, exc.headers)
            if isinstance(visitor, Redirect):
                return RedirectResponse(visitor.url, 303)
            if visitor is None:
                return self._tell(request, None, 403, 'You may not look at these queues.')
            try:
                return await call(request, visitor)
            except RefusalError as exc:
                return self._tell(request, visitor, exc.status, exc.text)
            except TorrelqueLookupError as exc:
                return self._tell(request, visitor, 404, str(exc))
            except (TorrelqueTypeError, TorrelqueValueError) as exc:
                return self._tell(request, visitor, 400, str(exc))
            except AwayError as exc:
                return self._tell(request, visitor, 503, f'What is asked for is in a shard that is away: {exc.away}.')
            except redis.exceptions.ConnectionError:
                return self._tell(request, visitor, 503, AWAY)
            except (TorrelqueServerError, redis.exceptions.RedisError, TorrelqueError) as exc:
                return self._tell(request, visitor, 502, f'The server of the queue has refused: {exc}')

        return answer

    def _page(self, page: Page, as_json: bool = False) -> Callable[[Request], Awaitable[Response]]:
        async def look(request: Request, visitor: Visitor) -> Response:
            # Whoever reads JSON does not look on while the rest comes.
            told = as_json or wants_json(request)
            query = Query(read_pairs(request.scope['query_string']))
            patience = LONG_PATIENCE if told else PATIENCE
            visit = Visit(self._site, visitor, page.name, query, patience=patience, first=patience)
            answer = await show(page, visit)
            if told:
                return _json(plain(answer.values), answer.status)
            return HTMLResponse(render(self._site, page, visit, answer), answer.status)

        return self._answer(look)

    async def _stream(self, request: Request, visitor: Visitor) -> Response:
        pairs = read_pairs(request.scope['query_string'])
        name = dict(pairs).get('of', '')
        page = next((page for page in PAGES if page.name == name and page.every), None)
        if page is None:
            raise RefusalError(404, 'There is no such page that is live.')
        if self._site.sampler.full:
            raise RefusalError(503, 'Too many look on at once.')
        # What is read anew once is not read anew all the time.
        query = Query(pair for pair in pairs if pair[0] not in ('of', 'again'))
        # The page is there already: what it could not wait for is to come as soon as it is known.
        visit = Visit(self._site, visitor, page.name, query, first=LONG_PATIENCE)

        async def read() -> tuple[float, Parts]:
            answer = await show(page, visit)
            return answer.view['now'], render_parts(self._site, page, visit, answer)

        key = (page.name, *query.pairs, '', *sorted(visitor.allow))

        stopping = anyio.Event()

        async def events() -> AsyncIterator[ServerSentEvent]:
            async with aclosing(self._site.sampler.follow(key, page.every, read, stopping.wait)) as frames:
                async for frame in frames:
                    yield ServerSentEvent(frame)
            # The page opens another stream.
            yield ServerSentEvent('', event='end')

        headers = {'x-accel-buffering': 'no', 'cache-control': 'no-store'}
        return Stream(events(), ping=10, headers=headers, shutdown_event=stopping, shutdown_grace_period=1)

    async def _scale(self, request: Request, _: Visitor) -> Response:
        """How many slots of workers have something to do, of all queues or of those that are named."""
        names = tuple(sorted({*request.query_params.getlist('q')}))
        scale = await self._site.reads.get(('scale', *names), 1, lambda: self._site.choose(names).scale())
        return _json(scale.as_json(), 200)

    async def _act(self, request: Request, visitor: Visitor) -> Response:
        if why := why_foreign(request.headers, self._site.origins):
            logger.warning('an act was refused, because %s', why)
            raise RefusalError(403, f'Nothing was done, because {why}.')
        form = Query(read_pairs(await request.body()))
        visit = Visit(self._site, visitor, 'act', Query(read_pairs(form.get('query', ''))))
        act = acting.find_act(visit)
        if act is None:
            raise RefusalError(400, 'Nothing was done: there is no such act.')
        if not visit.may(acting.grant_of(visit, act)):
            raise RefusalError(403, f'Nothing was done: {visitor.name} may not {act.label.lower()} here.')
        where = await acting.start(visit, act, form)
        return RedirectResponse(where, 303)

    # Other answers

    def _asset(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        asset = self._site.assets[name]

        async def answer(_: Request) -> Response:
            return Response(asset.body, headers={'cache-control': GOOD, 'content-type': asset.type})

        return answer

    def _tell(
        self, request: Request, visitor: Visitor | None, status: int, text: str, more: Mapping[str, str] | None = None
    ) -> Response:
        """Say what is wrong; with more headers."""
        headers = {**({'retry-after': '2'} if status == 503 else {}), **(more or {})}
        if wants_json(request):
            return _json({'error': text}, status, headers)
        # The tabs above are those of the queue that was asked for.
        name = request.query_params.get('q', '')
        query = Query([('q', name)] if name in self._site.operators else [])
        visit = None if visitor is None else Visit(self._site, visitor, 'error', query)
        again = status == 503 and request.method == 'GET'
        answer = Answer({}, {'status': status, 'text': text, 'again': again})
        body = render(self._site, None, visit, answer)
        return HTMLResponse(body, status, headers)

    async def _tell_missing(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        return await self._answer(self._missing(exc))(request)

    def _missing(self, exc: HTTPException) -> Callable[[Request, Visitor], Awaitable[Response]]:
        async def missing(_: Request, __: Visitor) -> Response:
            texts = {404: 'There is no such page.', 405: 'A page is not asked for in this way.'}
            raise RefusalError(exc.status_code, texts.get(exc.status_code, exc.detail))

        return missing


def path_of(scope: Scope) -> str:
    """The path of a request within the dashboard: an application that it is mounted in tells its own as a root."""
    path, root = str(scope['path']), str(scope.get('root_path', ''))
    rest = path.removeprefix(root)
    return rest if rest != path and rest[:1] in ('', '/') else path


async def read_body(request: Request) -> bytes:
    """The body of a request.

    :raises RefusalError: it is too large, or did not come whole.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LONGEST:
                raise RefusalError(413, 'Nothing was done: the form is too large.')
    except ClientDisconnect as exc:
        raise RefusalError(400, 'Nothing was done: the form did not come whole.') from exc
    return bytes(body)


def held(body: bytes) -> Receive:
    """What a request is received by whose body was read already."""

    async def receive() -> Message:
        return {'type': 'http.request', 'body': body, 'more_body': False}

    return receive


def wants_json(request: Request) -> bool:
    """Whether JSON is asked for, by the address or by a header."""
    accept = request.headers.get('accept', '')
    return request.url.path.endswith('.json') or 'application/json' in accept and 'text/html' not in accept


def _json(value: Any, status: int, headers: Mapping[str, str] | None = None) -> Response:
    # Surrogates, which stand for bytes that are no UTF-8, are escaped.
    body = json.dumps(value, ensure_ascii=True, separators=(',', ':'))
    return Response(body, status, headers, 'application/json')

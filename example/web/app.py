"""The web application: the page, what its buttons call, and the one stream of server-sent events that it reads.

A visitor is a token in a cookie, and sees and changes his own tasks only.  The cookie is not sent with requests that
another site has caused, so those find no visitor.
"""

import json
import random
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from consumer import KINDS
from lists import AWAY, LIMIT, ListFullError, Lists
from live import Live

PAGE = Path(__file__).parent / 'page'
COOKIE = 'torrelque_web'
MIX = 'mix'
"""Not a kind: any of them, at random."""
MOST = 50
"""Tasks that one request can start."""
HEADERS = [
    (
        'content-security-policy',
        "default-src 'none'; connect-src 'self'; img-src 'self'; script-src 'self'; style-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ('cache-control', 'no-cache'),
    ('referrer-policy', 'no-referrer'),
    ('x-content-type-options', 'nosniff'),
]
"""Of every response."""


class EventStream(EventSourceResponse):
    """A stream that ends when its page takes nothing for half a minute, and says no more about it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.send_timeout = 30
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            pass


def get_token(request: Request) -> str | None:
    token = request.cookies.get(COOKIE, '')
    return token if re.fullmatch(r'[\w-]{22}', token, re.ASCII) else None


def get_visitor(request: Request) -> str:
    if token := get_token(request):
        return token
    raise HTTPException(403, 'No cookie came with the request. Open the page first, and allow its cookie.')


async def get_own_task(request: Request) -> tuple[str, str]:
    """The visitor and the task of the path."""
    token, task_id = get_visitor(request), str(request.path_params['task_id'])
    if not await lists_of(request).owns(token, task_id):
        raise HTTPException(404, 'There is no such task on your list.')
    return token, task_id


def lists_of(request: Request) -> Lists:
    lists: Lists = request.app.state.lists
    return lists


def live_of(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


async def show_page(request: Request) -> Response:
    response = FileResponse(PAGE / 'index.html')
    token = get_token(request) or secrets.token_urlsafe(16)
    response.set_cookie(COOKIE, token, max_age=30 * 24 * 3600, httponly=True, samesite='lax')
    return response


async def stream(request: Request) -> Response:
    token, live = get_visitor(request), live_of(request)

    async def events() -> AsyncIterator[ServerSentEvent]:
        async for frame in live.frames(token):
            yield ServerSentEvent(json.dumps(frame, separators=(',', ':')), retry=1000)

    return EventStream(events())


async def start(request: Request) -> Response:
    token, kind, count = get_visitor(request), request.query_params.get('kind'), request.query_params.get('count', '1')
    if kind != MIX and kind not in KINDS:
        raise HTTPException(400, f'There is no kind {kind!r} of task: {", ".join([*KINDS, MIX])} are.')
    if not re.fullmatch(r'[0-9]{1,4}', count) or not 1 <= int(count) <= MOST:
        raise HTTPException(400, f'The count must be a number from 1 to {MOST}, not {count!r}.')
    kinds = random.choices(list(KINDS), k=int(count)) if kind == MIX else [kind] * int(count)
    try:
        records = await lists_of(request).start(token, kinds)
    except ListFullError:
        raise HTTPException(409, f'Your list has room for {LIMIT} tasks. Clear the finished ones first.') from None
    live_of(request).add(token, records)
    return JSONResponse({'ids': list(records)}, 201)


async def cancel(request: Request) -> Response:
    token, task_id = await get_own_task(request)
    records = await lists_of(request).cancel(token, task_id)
    if not records:
        raise HTTPException(409, 'It is finished already, there is nothing left to cancel.')
    live_of(request).add(token, records)
    return JSONResponse({'id': task_id})


async def redrive(request: Request) -> Response:
    _, task_id = await get_own_task(request)
    if not await lists_of(request).redrive(task_id):
        raise HTTPException(409, 'It is not dead, so there is nothing to bring back.')
    return JSONResponse({'id': task_id})


async def clear(request: Request) -> Response:
    token = get_visitor(request)
    task_ids = await lists_of(request).clear(token)
    live_of(request).remove(token, task_ids)
    return JSONResponse({'ids': task_ids})


async def tell_error(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return JSONResponse({'error': exc.detail}, exc.status_code, headers=exc.headers)


async def tell_away(_: Request, __: Exception) -> Response:
    return JSONResponse({'error': 'The server of the queue is away. Try again in a moment.'}, 503)


def make_app(lists: Lists, live: Live) -> Starlette:
    routes = [
        Route('/', show_page),
        Route('/events', stream),
        Route('/tasks', start, methods=['POST']),
        Route('/tasks/clear', clear, methods=['POST']),
        Route('/tasks/{task_id}/cancel', cancel, methods=['POST']),
        Route('/tasks/{task_id}/redrive', redrive, methods=['POST']),
        Mount('/page', StaticFiles(directory=PAGE)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: tell_error, **dict.fromkeys(AWAY, tell_away)})
    app.state.lists, app.state.live = lists, live
    return app

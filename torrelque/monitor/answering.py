"""What becomes of a request for metrics."""

import importlib.util
import json
from typing import Any, Protocol

from torrelque import TorrelqueError, TorrelqueValueError
from torrelque.operate import Scale

if importlib.util.find_spec('starlette') is None:
    raise TorrelqueError(
        "an exporter that answers requests needs starlette, of the extra 'monitor': pip install 'torrelque[monitor]'"
    )

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

ANEW = {'cache-control': 'no-store'}


class Exporter(Protocol):
    """What tells of queues: `Metrics`."""

    async def exposition(self, accept: str = '') -> tuple[bytes, str]:
        """The text, and what its type is called."""
        ...

    async def scale(self, *names: str) -> Scale:
        """How many slots of workers have something to do."""
        ...

    async def aclose(self) -> None:
        """End what is being read."""
        ...


def make_app(metrics: Exporter) -> ASGIApp:
    """What answers requests for metrics, and takes part in the lifespan of a server."""
    app = Starlette(routes=[
        Route('/', _tell(metrics)), Route('/metrics', _tell(metrics)), Route('/scale.json', tell_scale(metrics))
    ])  # fmt: skip
    app.router.redirect_slashes = False

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] == 'lifespan':
            return await _live(metrics, receive, send)
        if scope['type'] == 'http' and scope['path'] == scope.get('root_path', ''):
            # Whoever has mounted it may ask for it without a slash.
            scope = {**scope, 'path': f'{scope["path"]}/'}
        await app(scope, receive, send)
        return None

    return answer


async def _live(metrics: Exporter, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message['type'] == 'lifespan.shutdown':
            await metrics.aclose()
            return await send({'type': 'lifespan.shutdown.complete'})
        await send({'type': 'lifespan.startup.complete'})


def _tell(metrics: Exporter) -> Any:
    async def tell(request: Request) -> Response:
        text, kind = await metrics.exposition(request.headers.get('accept', ''))
        # The type has a charset already.
        return Response(text, headers={**ANEW, 'content-type': kind})

    return tell


def tell_scale(metrics: Exporter) -> Any:
    """What answers requests of whoever starts and stops workers."""

    async def tell(request: Request) -> Response:
        try:
            scale = await metrics.scale(*request.query_params.getlist('q'))
        except TorrelqueValueError as exc:
            return _json({'error': str(exc)}, 404)
        except Exception as exc:
            # A sum without what could not be read would have workers stopped.
            return _json({'error': str(exc) or 'the server does not answer'}, 503)
        return _json(scale.as_json())

    return tell


def _json(value: Any, status: int = 200) -> Response:
    # Surrogates, which stand for bytes that are no UTF-8, are escaped.
    return Response(json.dumps(value, ensure_ascii=True), status, ANEW, 'application/json')

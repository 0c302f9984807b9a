"""The pages of a worker for probes: text for an orchestrator, JSON for people, metrics of the process alone.

A queue's metrics are those of all workers, and one exporter serves them; here is what each process has of its own, and
those of queues only where the process is said to be that one.
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .judging import Look, Seen, not_live, not_ready, not_started

if TYPE_CHECKING:
    from .answering import Exporter

HEADERS = {'cache-control': 'no-store', 'x-content-type-options': 'nosniff', 'connection': 'close'}
NEEDS = "metrics need prometheus-client, of the extra 'monitor': pip install 'torrelque[monitor]'\n"
END = b'# EOF\n'
"""The last line of OpenMetrics, where the type is that."""
PATHS = ('/live', '/ready', '/started', '/health.json', '/metrics')


def make_site(look: Look, stall: float, metrics: 'Exporter | None' = None) -> Starlette:
    """The application.

    :param stall: for how long (s) an event loop may stand still.
    :param metrics: of queues, which are told of as well.
    """
    live = functools.partial(not_live, stall=stall)
    routes = [
        Route('/live', _probe(look, live)),
        Route('/ready', _probe(look, not_ready)),
        Route('/started', _probe(look, not_started)),
        Route('/health.json', _health(look, live)),
        Route('/metrics', _metrics(look, metrics)),
        Route('/', _index),
    ]
    if metrics is not None:
        from .answering import tell_scale

        routes.append(Route('/scale.json', tell_scale(metrics)))
    return Starlette(routes=routes)


async def _index(request: Request) -> Response:
    return PlainTextResponse('\n'.join([*PATHS, '']), headers=HEADERS)


def _probe(look: Look, amiss: Callable[[Sequence[Seen]], list[str]]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        why = amiss(look())
        return PlainTextResponse('\n'.join([*why, '']) if why else 'ok\n', 503 if why else 200, HEADERS)

    return answer


def _health(look: Look, live: Callable[[Sequence[Seen]], list[str]]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        seen = look()
        why = [live(seen), not_ready(seen), not_started(seen)]
        told = {
            **{name: not one for name, one in zip(('live', 'ready', 'started'), why, strict=True)},
            'amiss': [*dict.fromkeys(sentence for one in why for sentence in one)],
            'processes': [
                {
                    'process': one.process, 'name': one.label, 'silent': one.silent,
                    **(one.state.pack() if one.state else {}),
                }
                for one in seen
            ],
        }  # fmt: skip
        return JSONResponse(told, headers=HEADERS)

    return answer


def _metrics(look: Look, metrics: 'Exporter | None') -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        if importlib.util.find_spec('prometheus_client') is None:
            return PlainTextResponse(NEEDS, 501, HEADERS)
        write = importlib.import_module('.process', __package__).write_metrics
        accept = request.headers.get('accept', '')
        body, kind = write(look(), accept)
        if metrics is not None:
            text, _ = await metrics.exposition(accept)
            body = body.removesuffix(END) + text
        return Response(body, headers={**HEADERS, 'content-type': kind})

    return answer

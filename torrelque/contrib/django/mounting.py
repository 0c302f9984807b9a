"""The dashboard beside Django, in one ASGI application: Django itself can mount none."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)


def mount(application: Asgi, dashboard: Asgi, prefix: str = '/queues') -> Asgi:
    """An ASGI application with the dashboard below a prefix, and everything else as before; for ``asgi.py``.

    ``application = mount(get_asgi_application(), Dashboard(app, permit=permit, on_act=log_act))``

    What is mounted sees the prefix at the end of its ``root_path``.  The lifespan of the server is answered here,
    because Django knows none: at its end the dashboard is closed.  A server without lifespan is as good.

    :param application: that of Django, or of whatever else is around it.
    :param dashboard: a `torrelque.dashboard.Dashboard`, or any other ASGI application.
    :param prefix: a path such as ``/queues``, without or with a ``/`` at its end.  Middleware of Django, and so its
        login, has no part in what is below it: that is for the ``permit`` of the dashboard.
    :raises ValueError: the prefix is no path below the root.
    """
    prefix = prefix.rstrip('/')
    if not prefix.startswith('/') or prefix.startswith('//'):
        raise ValueError(f"prefix must be a path below the root, such as '/queues', not {prefix!r}")

    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] == 'lifespan':
            await _live(dashboard, receive, send)
            return
        root = scope.get('root_path', '')
        # By the specification a path has the root path before it; some servers leave that out.
        path = scope['path'].removeprefix(root) if _is_below(scope['path'], root) else scope['path']
        if path == prefix and scope['type'] == 'http':
            await _redirect(f'{quote(root + prefix)}/', scope, send)
        elif _is_below(path, prefix):
            await dashboard({**scope, 'root_path': root + prefix, 'path': root + path}, receive, send)
        else:
            await application(scope, receive, send)

    return mounted


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(f'{root}/')


async def _redirect(url: str, scope: Scope, send: Send) -> None:
    query = scope.get('query_string', b'')
    location = url.encode() + (b'?' + query if query else b'')
    headers = [(b'location', location), (b'content-length', b'0')]
    await send({'type': 'http.response.start', 'status': 307, 'headers': headers})
    await send({'type': 'http.response.body', 'body': b''})


async def _live(dashboard: Any, receive: Receive, send: Send) -> None:
    """Answer the lifespan of the server."""
    while True:
        message = await receive()
        if message['type'] == 'lifespan.startup':
            await send({'type': 'lifespan.startup.complete'})
        elif message['type'] == 'lifespan.shutdown':
            try:
                if (close := getattr(dashboard, 'aclose', None)) is not None:
                    await close()
            except Exception as exc:
                logger.exception('the dashboard could not be closed')
                await send({'type': 'lifespan.shutdown.failed', 'message': str(exc)})
            else:
                await send({'type': 'lifespan.shutdown.complete'})
            return

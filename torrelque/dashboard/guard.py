"""What every response says, so that a browser is bound by it; and which requests come from other sites."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from torrelque import TorrelqueTypeError, TorrelqueValueError

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    'content-security-policy': POLICY,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'x-frame-options': 'DENY',
    'x-robots-tag': 'noindex',
    'cross-origin-opener-policy': 'same-origin',
}
"""Of every response.  What is seen is not kept by the browser, but for what never changes; see `Headed`."""
FORM = 'application/x-www-form-urlencoded'
LONGEST = 1 << 20
"""Bytes of a form."""


class Headed:
    """Adds the headers that every response has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def add(message: Message) -> None:
            if message['type'] == 'http.response.start':
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault('cache-control', 'no-store')
            await send(message)

        await self._app(scope, receive, add)


def check_origins(origins: Iterable[str]) -> frozenset[str]:
    """Origins whose pages may send forms, as browsers spell them.

    :raises TorrelqueError: one is none.
    """
    if isinstance(origins, (str, bytes)) or not isinstance(origins, Iterable):
        raise TorrelqueTypeError(f'origins must be texts such as https://queues.example.com, not {origins!r}')
    found = frozenset(origins)
    for origin in found:
        if not isinstance(origin, str) or _origin_of(origin) != origin:
            raise TorrelqueValueError(f'{origin!r} is no origin, such as https://queues.example.com')
    return found


def why_foreign(headers: Headers, origins: frozenset[str]) -> str | None:
    """Why a request that changes something is refused; None where it comes from a page of this site.

    Browsers say where a request comes from, and no page can make them say something else: ``Sec-Fetch-Site`` since
    2023, over https and on this machine, ``Origin`` for much longer.  So no cookie, no session and no secret is needed.
    The idea is that of Go's ``net/http.CrossOriginProtection``.
    """
    kind = headers.get('content-type', '').partition(';')[0].strip().lower()
    if kind != FORM:
        return 'what is sent is no form'
    site = headers.get('sec-fetch-site')
    if site == 'same-origin':
        return None
    given = headers.get('origin') or headers.get('referer', '')
    origin = _origin_of(given)
    if origin in origins:
        return None
    if site is not None:
        return f'it comes from another site ({site})'
    if not given:
        return 'it does not tell which site it comes from'
    if origin and urlsplit(origin).netloc.lower() == headers.get('host', '').lower():
        return None
    return 'it comes from another site'


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ''
    return f'{parts.scheme}://{parts.netloc}' if parts.scheme in ('http', 'https') and parts.netloc else ''

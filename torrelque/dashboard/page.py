"""What a page is: a name, a title, and a function that reads what it shows."""

import asyncio
import dataclasses
import enum
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from torrelque import TorrelqueConnectionError
from torrelque.operate import Overview

from .reads import Trouble
from .visit import Visit
from .wording import visible_lines

PATIENCE = 5.0
"""s after which a server that does not answer is away."""


class Answer(NamedTuple):
    """What a page shows."""

    values: Mapping[str, Any]
    """Values of `torrelque.operate`, or lists of them, by their names: the page as JSON, and for its template."""
    view: Mapping[str, Any] = {}
    """What only the template needs."""
    status: int = 200


class Page(NamedTuple):
    """A page.  Its template has its name, and the parts of it that are live are blocks whose names begin with ``live``.
    """

    name: str
    title: str
    read: Callable[[Visit], Awaitable[Answer]]
    every: float = 0.0
    """From one look to the next (s) while somebody looks on; 0 is a page that stays as it is."""
    tab: str = ''
    """The name of the page under whose tab it is; its own, if not given."""

    @property
    def template(self) -> str:
        """The name of its template."""
        return f'{self.name or "overview"}.html'


async def show(page: Page, visit: Visit) -> Answer:
    """What a page shows, and what stands above all pages: how the queue is that it is about.

    :raises TorrelqueConnectionError: the server has not answered in time.
    """
    try:
        return await asyncio.wait_for(_show(page, visit), PATIENCE)
    except asyncio.TimeoutError as exc:
        raise TorrelqueConnectionError('the server does not answer') from exc


async def _show(page: Page, visit: Visit) -> Answer:
    answer = await page.read(visit)
    head = await visit.part(visit.overview(visit.name or visit.names[0]))
    now = head.server_time if isinstance(head, Overview) else 0.0
    return answer._replace(view={'head': None if visit.name is None else head, 'now': now, **answer.view})


def plain(value: Any) -> Any:
    """What stands in a page's JSON: values of `torrelque.operate` as the command line writes them, and what they are
    in."""
    if isinstance(value, Trouble):
        return {'error': value.text}
    if callable(as_json := getattr(value, 'as_json', None)):
        return as_json()
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value if value is None or isinstance(value, (str, int, bool)) else visible_lines(str(value))

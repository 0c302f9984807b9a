"""Who may look, and what else: what ``permit`` answers, and the names of what can be granted."""

import difflib
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from torrelque import TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

GRANTS = (
    'redrive', 'cancel', 'requeue', 'bury', 'pause', 'limit', 'sweep', 'enqueue', 'schedule', 'payload',
)  # fmt: skip
"""What a visitor may be allowed beside looking: acts by their names, ``pause`` to resume as well, ``schedule`` to
pause, resume, fire and remove schedules; and ``payload``, to see what is redacted."""


@dataclass(frozen=True, init=False)
class Visitor:
    """Somebody who may look.

    :param name: for the record of what is done.
    :param allow: what else is allowed, of `GRANTS`; nothing, if not given.
    :raises TorrelqueError: the name is none, or something is to be allowed that there is not.
    """

    name: str
    allow: frozenset[str]

    def __init__(self, name: str, allow: Iterable[str] = ()) -> None:
        object.__setattr__(self, 'name', check.check_name(name, 'the name of a visitor'))
        object.__setattr__(self, 'allow', check_grants(allow))


@dataclass(frozen=True)
class Redirect:
    """Somebody who has to go elsewhere first, such as to a page where one logs in.

    :param url: where.
    """

    url: str


class RefusalError(Exception):
    """A request that is answered by a page that says why it was refused."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


Permit = Callable[[Request], 'Visitor | Redirect | Awaitable[Visitor | Redirect | None] | None']
"""Decides who may look; None is nobody."""


def check_grants(allow: Iterable[str]) -> frozenset[str]:
    """Grants that there are.

    :raises TorrelqueTypeError: it is one text, or no texts.
    :raises TorrelqueValueError: there is no such grant.
    """
    if isinstance(allow, (str, bytes)) or not isinstance(allow, Iterable):
        raise TorrelqueTypeError(f'allow must be names of grants, such as {{"redrive"}}, not {allow!r}')
    found = frozenset(allow)
    for name in found:
        if name not in GRANTS:
            near = difflib.get_close_matches(str(name), GRANTS, 1)
            hint = f'did you mean {near[0]!r}?' if near else f'there are {", ".join(GRANTS)}'
            raise TorrelqueValueError(f'there is no grant {name!r}: {hint}')
    return found


def anyone(request: Request) -> Visitor:
    """A ``permit`` for whoever means it: everybody may look, and change nothing."""
    return Visitor('anyone')


def check_permit(permit: Any) -> Permit:
    """A function that decides who may look.

    :raises TorrelqueTypeError: it cannot be called.
    """
    if not callable(permit):
        raise TorrelqueTypeError(
            f'permit must be a function that is given the request and answers a Visitor, a Redirect or None, not '
            f'{permit!r}; torrelque.dashboard.anyone lets everybody look'
        )
    return permit  # type: ignore[no-any-return]


async def ask(permit: Permit, request: Request) -> Visitor | Redirect | None:
    """What ``permit`` answers.

    :raises TorrelqueTypeError: something else than it may.
    """
    answer = permit(request)
    if inspect.isawaitable(answer):
        answer = await answer
    if answer is not None and not isinstance(answer, (Visitor, Redirect)):
        raise TorrelqueTypeError(
            f'permit must answer a Visitor, a Redirect or None, not {type(answer).__name__}: nobody was let in'
        )
    return answer

"""Questions that cannot be meant, and words that cannot be put on record, are refused before anything is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from torrelque import Torrelque, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Operator, Selection

pytestmark = pytest.mark.one_server

Ask = Callable[[Any], Awaitable[Any]]

REFUSED: dict[str, tuple[type[Exception], Ask]] = {
    "explain('')": (TorrelqueValueError, lambda it: it.explain('')),
    'explain(5)': (TorrelqueTypeError, lambda it: it.explain(5)),
    "explain(b'x')": (TorrelqueTypeError, lambda it: it.explain(b'x')),
    'explain of no text': (TorrelqueValueError, lambda it: it.explain('\ud800')),
    "explain(group='')": (TorrelqueValueError, lambda it: it.explain(group='')),
    'explain(group=5)': (TorrelqueTypeError, lambda it: it.explain(group=5)),
    'explain of both': (TorrelqueTypeError, lambda it: it.explain('a', group='b')),
    'task(5)': (TorrelqueTypeError, lambda it: it.task(5)),
    "task('')": (TorrelqueValueError, lambda it: it.task('')),
    'group(5)': (TorrelqueTypeError, lambda it: it.group(5)),
    "group('')": (TorrelqueValueError, lambda it: it.group('')),
    'groups(by=5)': (TorrelqueValueError, lambda it: it.groups(by=5)),
    'groups(by=[])': (TorrelqueValueError, lambda it: it.groups(by=[])),
    'groups(pattern=5)': (TorrelqueTypeError, lambda it: it.groups(pattern=5)),
    'page(5)': (TorrelqueTypeError, lambda it: it.page(5)),
    "page('')": (TorrelqueValueError, lambda it: it.page('')),
    "page('group:')": (TorrelqueValueError, lambda it: it.page('group:')),
    'page(after=5)': (TorrelqueTypeError, lambda it: it.page('dead', after=5)),
    'limit(foo)': (TorrelqueTypeError, lambda it: it.set_limit('a', foo=1)),
    'cancel(foo)': (TorrelqueTypeError, lambda it: it.cancel(Selection(), foo=1)),
    'cancel(counts)': (TorrelqueTypeError, lambda it: it.cancel(Selection(), counts=None)),
    'record of no text': (TorrelqueTypeError, lambda it: it.record('a', 5)),
    'record of what has no bytes': (TorrelqueValueError, lambda it: it.record('a', 'x\ud800')),
}


@pytest.mark.parametrize('name', REFUSED)
async def test_what_cannot_be_meant_is_refused_before_anything_is_sent(queue: Torrelque, name: str) -> None:
    error, ask = REFUSED[name]
    with pytest.raises(error) as refused:
        await ask(Operator(queue))
    assert type(refused.value) is error
    assert queue._session is None

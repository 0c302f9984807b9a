"""What functions may depend on, made by all that may make it; and what was done, in its order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

EVENTS: list[Any] = []
"""What was done, in its order."""


@pytest.fixture(autouse=True)
def events() -> Iterator[None]:
    """Each test begins with none."""
    EVENTS.clear()
    yield
    EVENTS.clear()


class Session:
    """What a function may want."""

    def __init__(self) -> None:
        EVENTS.append('open')

    def add(self, what: str) -> str:
        EVENTS.append(what)
        return f'added {what}'


def make() -> Session:
    return Session()


async def amake() -> Session:
    await asyncio.sleep(0)
    return Session()


def generate() -> Iterator[Session]:
    yield Session()
    EVENTS.append('close')


async def agenerate() -> AsyncIterator[Session]:
    yield Session()
    await asyncio.sleep(0)
    EVENTS.append('close')


@contextlib.contextmanager
def manage() -> Iterator[Session]:
    yield Session()
    EVENTS.append('close')


@contextlib.asynccontextmanager
async def amanage() -> AsyncIterator[Session]:
    yield Session()
    EVENTS.append('close')


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that knows nothing of generators."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Maker:
    """An object that is called."""

    def __call__(self) -> Session:
        return Session()


class Generating:
    def __call__(self) -> Iterator[Session]:
        yield Session()
        EVENTS.append('close')


class Sessions:
    def make(self) -> Session:
        return Session()

    async def amake(self) -> Session:
        return Session()


PLAIN: list[tuple[Any, list[str]]] = [
    (make, []),
    (Session, []),
    (Maker(), []),
    (Sessions().make, []),
    (functools.partial(make), []),
    (generate, ['close']),
    (functools.partial(generate), ['close']),
    (logged(generate), ['close']),
    (Generating(), ['close']),
    (manage, ['close']),
]
"""What is not asynchronous, and what its clean-up does."""
ASYNCHRONOUS: list[tuple[Any, list[str]]] = [
    (amake, []),
    (Sessions().amake, []),
    (agenerate, ['close']),
    (logged(agenerate), ['close']),
    (amanage, ['close']),
]
"""What is asynchronous, and what its clean-up does."""

"""A context that carries the id of a request, and functions that tell of it; one for a process of its own."""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator, Mapping

import redis.asyncio

from torrelque import Torrelque
from torrelque.tasks import Tasks

request: contextvars.ContextVar[str | None] = contextvars.ContextVar('request', default=None)
"""The request that is being answered."""
inside: contextvars.ContextVar[str] = contextvars.ContextVar('inside', default='none')
"""The request that a function is run for."""


class Requests:
    """Carries the id of a request to functions."""

    def give(self) -> Mapping[str, str] | None:
        known = request.get()
        return None if known is None else {'request': known}

    @contextlib.contextmanager
    def take(self, context: Mapping[str, str], /) -> Iterator[None]:
        token = inside.set(context.get('request', 'none of these'))
        try:
            yield
        finally:
            inside.reset(token)


elsewhere = Tasks(Torrelque(redis.asyncio.Redis()), context=Requests())
"""What a process finds that imports this module; nothing connects."""


@elsewhere.task(run_in='process')
def tell_of_process() -> list[object]:
    """The request, and the process."""
    return [inside.get(), os.getpid()]

"""What is on its way when an event loop ends is carried out.

An event loop that ends closes its asynchronous generators last, when all its tasks are over, and runs until these have
come to their end: `loop.shutdown_asyncgens`, which `asyncio.run` calls.  So a generator that was begun, and that nobody
asks for anything, is told of that end and may wait.  Here it waits for the replies of what was written over a link.

Else the socket would close right behind the last call.  A server that has not read all of it yet finds out when it
writes the reply of an earlier one, and drops what it has not read: tasks that were given back or released would be held
until their leases end.
"""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator

from .link import Link

Farewell = AsyncGenerator[None, None]


def begin(link: Link) -> Farewell:
    """Wait for the replies of a link at the end of the running event loop, for as long as this is kept."""
    farewell = _wait(weakref.ref(link))
    with contextlib.suppress(StopIteration):
        farewell.__anext__().send(None)
    return farewell


def end(farewell: Farewell) -> None:
    """The link was closed, so there is nothing to wait for."""
    # It is running where the event loop ends just now.
    with contextlib.suppress(StopIteration, RuntimeError):
        farewell.aclose().send(None)


async def _wait(place: 'weakref.ref[Link]') -> Farewell:
    try:
        yield
    finally:
        link = place()
        if link is not None and link.in_flight:
            loop = asyncio.get_running_loop()
            over = loop.time() + link.bounds.claim_closing / 4
            # Replies come in the order of their calls.  What a claim has brought is given back by one more call.
            while link.in_flight and (left := over - loop.time()) > 0:
                last = link.call(None, ('PING',))
                last.add_done_callback(lambda last: last.cancelled() or last.exception())
                await asyncio.wait([last], timeout=left)

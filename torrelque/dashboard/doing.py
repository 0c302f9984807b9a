"""Acts on their way: each is done once, goes on beyond the request that began it, and is remembered by its number."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import redis.exceptions

from torrelque import TorrelqueError
from torrelque.operate import Outcome

logger = logging.getLogger('torrelque.dashboard')

MOST = 1000
"""Acts that are remembered, beside those that are on their way."""


class Doing:
    """An act on its way, or that has ended.

    :param number: of the form that was sent.
    :param act: its name.
    :param queue: the name of its queue.
    :param who: whoever has asked for it.
    :param title: what it does, in words, such as 'Redrive 312 dead tasks'.
    """

    def __init__(self, number: str, act: str, queue: str, who: str, title: str) -> None:
        self.number = number
        self.act = act
        self.queue = queue
        self.who = who
        self.title = title
        self.state = 'running'
        """'running', 'done', 'stopped', 'failed'."""
        self.outcome: Outcome | None = None
        """Of a bulk act, how far it is."""
        self.total: int | None = None
        """About how many tasks it is, as far as they were counted."""
        self.ids: Sequence[str] = ()
        """Tasks that were named."""
        self.told: list[str] = []
        """What it came to, in words."""
        self.links: list[tuple[str, str]] = []
        """Where to go on: a text and an address."""
        self.error = ''
        """Why it has failed."""
        self.stopped_by = ''
        self.began = time.time()
        """By the clock of this process."""
        self.ended: float | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it is on its way."""
        return self.ended is None

    def begin(self, call: Callable[['Doing'], Awaitable[None]], at_end: Callable[[], None]) -> 'asyncio.Task[None]':
        """Have it done, by a task of its own.

        :param at_end: is called when it has ended, however that was.
        """
        self.task = asyncio.ensure_future(self._do(call, at_end))
        return self.task

    async def stop(self, who: str) -> None:
        """End it where it is, and wait until what it has done is on record."""
        if self.task is not None and self.running:
            self.stopped_by = who
            self.task.cancel()
            await asyncio.wait({self.task})

    async def _do(self, call: Callable[['Doing'], Awaitable[None]], at_end: Callable[[], None]) -> None:
        try:
            await call(self)
            self.state = 'done'
        except asyncio.CancelledError:
            self.state = 'stopped'
        except redis.exceptions.ConnectionError as exc:
            self._fail(f'The server of the queue went away, so it is not known what became of the last step: {exc}')
        except (TorrelqueError, redis.exceptions.RedisError) as exc:
            self._fail(str(exc))
        except Exception as exc:
            logger.exception('an act has failed')
            self._fail(f'It has failed by {type(exc).__name__}; the log of the dashboard tells more')
        finally:
            self.ended = time.time()
            at_end()

    def _fail(self, text: str) -> None:
        self.state, self.error = 'failed', text


class Doings:
    """Acts by their numbers; of those that have ended the last thousand."""

    def __init__(self) -> None:
        self._found: dict[str, Doing] = {}

    def __contains__(self, number: str) -> bool:
        return number in self._found

    def get(self, number: str) -> Doing | None:
        """The act of a number, as far as it is remembered here."""
        return self._found.get(number)

    def running(self, queue: str | None = None) -> list[Doing]:
        """Acts on their way, of a queue or of all; the newest first."""
        found = [one for one in self._found.values() if one.running and queue in (None, one.queue)]
        return found[::-1]

    def add(self, doing: Doing) -> None:
        """Remember an act; those that ended first are forgotten, where there are too many."""
        self._found[doing.number] = doing
        over = [number for number, one in self._found.items() if not one.running][: len(self._found) - MOST]
        for number in over if len(self._found) > MOST else ():
            del self._found[number]

    def forget(self, number: str) -> None:
        """Forget an act that was not begun."""
        self._found.pop(number, None)

    async def aclose(self) -> None:
        """End all acts where they are, and wait until what they have done is on record."""
        tasks = [one.task for one in self._found.values() if one.task is not None and one.running]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

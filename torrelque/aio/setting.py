"""What is known of the server's notifications: whether it sends them, and whose user was told that it does not.

=========  =================================================  ======================================================
mode       the server                                         what is watched
=========  =================================================  ======================================================
UNKNOWN    has not answered yet                               is read after each notification
TOLD       sends all that are needed                          is read after each notification, and slowly in any case
READING    sends none or too few, or does not say             is looked at again and again, and read after a
                                                              notification too
=========  =================================================  ======================================================

`Setting` alone switches, by each answer to ``CONFIG GET``.  The hub has it ask at the first watch, every few seconds
while anything is watched, and when a change was found that nobody told of; so the mode follows the setting in both
directions, and to another server.  A lost connection is no answer: it leaves the mode as it is, and the question is
asked again.  An answer that cannot be understood, a refusal among them, is that the server does not say.

Whether the server lets this user listen is another matter, and one of each task: a task to which the user may not
listen is looked at in any mode.  The subscription is tried again with each question.
"""

import enum
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from torrelque.error import TorrelqueConnectionError
from torrelque.protocol.replies import text

from .link import Link, Request

logger = logging.getLogger('torrelque')

NAME = 'notify-keyspace-events'
_warned: 'weakref.WeakSet[Any]' = weakref.WeakSet()
"""Clients whose user has been told; many make a queue object for each request."""
_lock = threading.RLock()


class Mode(enum.Enum):
    """How changes of what is watched are noticed."""

    UNKNOWN = enum.auto()
    TOLD = enum.auto()
    READING = enum.auto()


def flags_of(reply: Any) -> str | None:
    """The setting, by a reply to CONFIG GET; None where that does not say."""
    words: Any = [word for item in reply.items() for word in item] if isinstance(reply, dict) else reply
    if isinstance(words, list) and len(words) == 2 and words[0] == NAME.encode() and isinstance(words[1], bytes):
        return text(words[1])
    return None


def are_enough(flags: str) -> bool:
    """Whether the server sends all notifications that are needed."""
    return 'K' in flags and ('A' in flags or {'g', 'h', 'x'} <= set(flags))


class Setting:
    """The server's setting, as far as it is known."""

    def __init__(
        self,
        link: Link,
        client: object,
        queue: str,
        switched: Callable[[], None],
        unreached: Callable[[Exception], None],
    ) -> None:
        self.mode = Mode.UNKNOWN
        """How changes are noticed, by the server's last answer."""
        self._link = link
        """Over which the server is asked."""
        self._client = client
        """Whose user is warned once."""
        self._queue = queue
        """Name of the queue, for messages."""
        self._switched = switched
        """Called when the mode has become another one."""
        self._unreached = unreached
        """Called with the error when the server gave no answer."""
        self._asking = False
        """Whether a question is on its way."""
        self._answered = float('-inf')
        """When the last answer came, by the loop's clock."""

    def ask(self) -> None:
        """Ask the server, unless it is being asked; ``switched`` is called when the mode has become another one."""
        if not self._asking:
            self._asking = True
            self._link.submit(Request(None, ['CONFIG', 'GET', NAME], self._have_asked))

    def refresh(self) -> None:
        """Ask the server, unless its last answer is a new one."""
        if self._link.loop.time() - self._answered >= self._link.bounds.setting_age:
            self.ask()

    def warn(self, why: str) -> None:
        """Say, once for each client, that what is watched is looked at again and again."""
        with _lock:
            known = self._client in _warned
            _warned.add(self._client)
        if not known:
            logger.warning(
                'queue %r: its tasks are watched by reading them again and again: %s. '
                'Changes are seen sooner, and cost less, where the server has %s KA (or Kghx at least)',
                self._queue, why, NAME,
            )  # fmt: skip

    def _have_asked(self, reply: Any, error: Exception | None) -> None:
        self._asking = False
        if isinstance(error, TorrelqueConnectionError):
            self._unreached(error)
            return
        self._answered = self._link.loop.time()
        flags = None if error is not None else flags_of(reply)
        before = self.mode
        if flags is not None and are_enough(flags):
            self.mode = Mode.TOLD
            if before is Mode.READING:
                with _lock:
                    _warned.discard(self._client)
        else:
            self.mode = Mode.READING
            unknown = f'the server does not say what it has as {NAME} ({error or "an empty or strange answer"})'
            self.warn(unknown if flags is None else f'{NAME} is {flags!r}')
        if self.mode is not before:
            self._switched()

"""A script of one queue as bytes: the call that is sent, with the text of the script or with its hash alone.

Its arguments are a short head and then some for each task, so that the calls of many can be one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import hiredis

from .keys import DECLARED
from .refusals import error_code
from .scripts import load_script, pack_text, pack_words
from .table import ROWS
from .words import text

Arg = str | bytes
_pack: Any = hiredis.pack_command  # the annotation of `hiredis.pack_command` knows tuples of one only


def pack(args: Sequence[Arg]) -> bytes:
    """A command as RESP."""
    packed: bytes = _pack(tuple(args))
    return packed


def declare(keys: Mapping[str, str]) -> tuple[list[bytes], bytes]:
    """The keys that all scripts of a queue declare; these with their number, as they are sent."""
    words = [keys[key].encode() for key in DECLARED]
    return words, pack_words([str(len(words)).encode(), *words])


class Transition:
    """One script of one queue.  What is the same in all its calls is packed once; the text of the script, once for all
    queues, by the first that needs it."""

    __slots__ = ('_packed_keys', '_short', 'keys', 'name', 'queue', 'script')

    def __init__(
        self,
        name: str,
        keys: Mapping[str, str],
        declared: tuple[list[bytes], bytes] | None = None,
        queue: str | None = None,
    ) -> None:
        self.name = name
        self.queue = queue
        """Name of the queue, for messages."""
        self.script = load_script(name)
        self.keys, self._packed_keys = declared or declare(keys)
        self._short = pack_words([b'EVALSHA', self.script.sha]) + self._packed_keys

    def pack(self, args: Sequence[Arg], resent: bool, whole: bool) -> bytes:
        """The call as RESP; ``whole`` with the text of the script, for a server that does not know it."""
        packed: bytes = _pack(('1' if resent else '', *args))
        return b'*%d\r\n%b%b' % (
            len(args) + len(self.keys) + 4,
            b'$4\r\nEVAL\r\n' + pack_text(self.script) + self._packed_keys if whole else self._short,
            packed[packed.index(b'\n') + 1 :],
        )

    def words(self, args: Sequence[Arg], resent: bool) -> list[Arg | int]:
        """The call with the text of the script, for the pipeline of a caller; its client may encode text otherwise."""
        data = [arg.encode() if isinstance(arg, str) else arg for arg in args]
        return ['EVAL', self.script.text, len(self.keys), *self.keys, '1' if resent else '', *data]


_LINE = re.compile(r'user_script: ?(\d+)')
_TOLD = 200
"""Characters at the most of what is told of a call that was refused."""


def with_place(message: str, transition: Transition | None, args: Sequence[Arg]) -> str:
    """A refusal of the server; of one for want of a right with what it was about, which no server tells in full: the
    line of the script, or the keys that it declares, or the command with its first word."""
    if error_code(message) != 'NOPERM':
        return message
    if transition is None:
        words = [text(word) for word in args]
        scripted = words[0].upper().startswith('EVAL')
        about = ' '.join([words[0], *(words[3:4] if scripted else words[1:2])])
        return f'{message} ({about:.{_TOLD}})'
    found = _LINE.search(message)
    lines = transition.script.text.decode().splitlines()
    number = int(found[1]) if found else 0
    about = lines[number - 1].strip() if 0 < number <= len(lines) else ', '.join(map(text, transition.keys))
    return f'{message} ({transition.name}: {about:.{_TOLD}})'


class Transitions(dict[str, Transition]):
    """The scripts of one queue by their names, each made when it is first asked for: many make an object for each
    request, and need two or three."""

    __slots__ = ('_declared', '_keys', 'queue')

    def __init__(self, keys: Mapping[str, str], queue: str | None = None) -> None:
        self.queue = queue
        """Name of the queue, for messages."""
        self._keys = keys
        self._declared = declare(keys)

    def __missing__(self, name: str) -> Transition:
        if name not in ROWS:
            raise KeyError(name)
        # Threads that ask at the same time get the same object, because `setdefault` keeps the first.
        return self.setdefault(name, Transition(name, self._keys, self._declared, self.queue))


class Heads(dict[str, list[Arg]]):
    """What a call has once, before the arguments of its tasks, by the script's name; no claim is acknowledged."""

    def __init__(self, **words: str) -> None:
        self.words = words

    def __missing__(self, name: str) -> list[Arg]:
        return self.setdefault(name, [self.words[word] for word in ROWS[name].head])

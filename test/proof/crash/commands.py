"""The commands that a child sends, read: which script each is, and whose tasks it settles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from torrelque.protocol.replies import text
from torrelque.protocol.scripts import load_script

SETTLING = {'release': 3, 'requeue': 4, 'touch': 4, 'bury': 3}
"""Transitions of a holder, and where the arguments of their tasks begin; see the scripts."""
NAMES = {
    load_script(name).sha: name
    for name in ('enqueue', 'claim', 'redrive', 'cancel', 'sweep', 'leave', 'stats', 'limit', 'advance', 'pause',
                 'resume', *SETTLING)
}  # fmt: skip


class Command(NamedTuple):
    """A script that settles tasks."""

    name: str
    resent: bool
    tasks: list[tuple[str, str]]
    """Ids and tokens."""


def read_settling(words: Sequence[bytes]) -> Command | None:
    """A command as a call of a holder, if it is one."""
    if words[0] not in (b'EVALSHA', b'EVAL'):
        return None
    name = NAMES.get(_hash_of(words), '')
    if name not in SETTLING:
        return None
    args = words[3 + int(words[2]) :]
    # The place of the last one tells how many arguments a task has; those of release that are kept have one more.
    width = {'release': 3, 'requeue': 7, 'touch': 4, 'bury': 5}[name]
    tasks, at = [], SETTLING[name] - 1
    while at < len(args):
        tasks.append((args[at].decode(), args[at + 1].decode().partition('?')[0]))
        at += width + (name == 'release' and args[at + 2] != b'')
    return Command(name, args[0] == b'1', tasks)


def name_of(words: Sequence[bytes]) -> str:
    """What a command is called in figures."""
    return NAMES.get(_hash_of(words), text(words[0]).lower())


def _hash_of(words: Sequence[bytes]) -> bytes:
    """The hash of the script that a command runs."""
    if words[0] == b'EVAL':
        return hashlib.sha1(words[1]).hexdigest().encode()
    return words[1] if words[0] == b'EVALSHA' else b''

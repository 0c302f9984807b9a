"""The scripts' texts: joined from the files in `script`, and packed, once."""

import functools
import hashlib
import importlib.resources
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Script(NamedTuple):
    """A transition's text, joined from the prelude, the parts it uses and its own file."""

    text: bytes
    sha: bytes


@functools.cache
def load_script(name: str) -> Script:
    """The script of a name, as `torrelque/script/NAME.lua` describes it."""
    text = '\n'.join([*_join('_prelude', set()), *_join(name, set())])
    return Script(text.encode(), hashlib.sha1(text.encode()).hexdigest().encode())


def pack_words(words: Iterable[bytes]) -> bytes:
    """Words of a command as RESP."""
    return b''.join(b'$%d\r\n%b\r\n' % (len(word), word) for word in words)


@functools.cache
def pack_text(script: Script) -> bytes:
    """The text of a script as it is sent: once in the process, however many queues there are."""
    return pack_words([script.text])


def _join(name: str, made: set[str]) -> Iterator[str]:
    """The lines of a script file, with the keys and the parts that it names in the places where it does.

    A line that begins with `--@` is no comment but a directive: `--@ Keys tasks, dead` makes the names of these keys,
    `--@ Uses judge, marks (marked, with_mark)` brings these parts (`_NAME.lua`), each once.  In brackets are the names
    that a part defines, where they are others than its own; they are for the reader, and a test compares them.

    Comments are left out: they would be sent with each transaction of a caller, and be kept by the server.
    """
    path = importlib.resources.files('torrelque') / 'script' / f'{name}.lua'
    for line in path.read_text('utf-8').splitlines():
        named = re.fullmatch(r'( *)--@ (Keys|Uses) (.+)', line)
        if named is None:
            if line and not line.lstrip().startswith('--'):
                yield line
            continue
        # A local that is made inside a block of Lua is not there behind the block.
        here = set(made) if named[1] else made
        prefix = '_' if named[2] == 'Uses' else ''
        words = re.sub(r' \(.*?\)', '', named[3]).split(', ')
        fresh = [prefix + word for word in words if prefix + word not in here]
        here.update(fresh)
        if prefix:
            for part in fresh:
                yield from _join(part, here)
        elif fresh:
            yield f'local {", ".join(fresh)} = ' + ', '.join(f"base .. '{key}'" for key in fresh)

"""A command in a pseudo-terminal of a given size, and what it has written to it, byte by byte."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 90.0
"""s after which something that was waited for is taken for missing."""

OWN = re.compile(rb'\x1b\[(?:(?:[0-9]|[34][0-7]|9[0-7])(?:;(?:[0-9]|[34][0-7]|9[0-7]))*)?m')
"""Colours and other styles."""
CURSOR = re.compile(rb'\x1b\[(?:\?25[lh]|[0-9]*[ABGK]|2K)|\r')
"""How a live view goes over what it has drawn before."""


class Terminal:
    """A command that runs in a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.written = bytearray()
        """What it has written so far, error output too."""

    def read(self) -> bool:
        """Read something; whether there may be more."""
        ready, _, _ = select.select([self.master], [], [], PATIENCE)
        assert ready, f'nothing comes any more behind {self.written!r}'
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b''  # that is how Linux tells that nobody has the terminal open any more
        self.written += data
        return bool(data)

    def wait_for(self, pattern: bytes) -> None:
        """Wait until it has written something."""
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.written):
            assert self.read() and time.monotonic() < end, f'{pattern!r} is not in {self.written!r}'

    def type(self, keys: bytes) -> None:
        """Press keys; what Ctrl-C means the terminal knows."""
        os.write(self.master, keys)

    def end(self, status: int = 0) -> bytes:
        """Wait for the end; what it has written."""
        while self.read():
            pass
        ended = self.process.wait(PATIENCE)
        assert ended == status, f'it ended with {ended}: {self.written!r}'
        return bytes(self.written)


@contextmanager
def open_terminal(
    words: Sequence[str], environment: Mapping[str, str], *, columns: int = 80, lines: int = 24,
    directory: Path | None = None,
) -> Iterator[Terminal]:  # fmt: skip
    """A command in a terminal of its own, by this Python; what has not ended at the end of the block is killed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', lines, columns, 0, 0))
    # What is written comes as it is: a newline is not made two characters.
    modes = termios.tcgetattr(slave)
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    given = {name: value for name, value in environment.items() if name not in ('COLUMNS', 'LINES', 'NO_COLOR')}
    process = subprocess.Popen(
        [sys.executable, '-W', 'error', *words], stdin=slave, stdout=slave, stderr=slave, cwd=directory,
        env={**given, 'TERM': 'xterm-256color'}, start_new_session=True, preexec_fn=_control,
    )  # fmt: skip
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        os.close(master)


def _control() -> None:
    """Have the terminal at standard input control the process, so that Ctrl-C reaches it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def strange(written: bytes, live: bool = False) -> list[str]:
    """What a terminal may take for more than text, in what was written: control characters, marks of direction, bytes
    that are no UTF-8; ends of lines and styles aside, and of a live view the moves of the cursor."""
    text = OWN.sub(b'', written)
    if live:
        text = CURSOR.sub(b'', text)
    found = [f'{byte:#x}' for byte in text if byte < 0x20 and byte != 0x0A]
    read = text.decode('utf-8', 'surrogateescape')
    return found + [f'{character!a}' for character in read if not character.isprintable() and character != '\n'
                    and ord(character) >= 0x7F]  # fmt: skip

"""The program that a command line is of: ``torrelque``, or another one that has the same commands."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program whose commands are those of ``torrelque``, such as one that sets a framework up before; for `main`."""

    name: str = 'torrelque'
    """What it is called in its help, and in the command lines that it tells people to give."""
    command: Sequence[str] | None = None
    """What starts it again with the same words, for the processes of ``run``; None is ``python -m torrelque``, or what
    this process was started by, where the words are its own."""
    app: str | None = None
    """What ``run`` serves, and what ``--app`` is of the other commands, where the command line names neither that nor a
    server: ``MODULE:NAME``, or several with commas between them."""
    url: str | None = None
    """The server of commands that have no app, where the command line names none."""
    queues: Sequence[str] = ()
    """The queues that commands are about, where the command line names none."""

    def tells(self, words: str) -> str:
        """A command line of ``torrelque`` as one of this program."""
        return f'{self.name}{words.removeprefix("torrelque")}' if words.startswith('torrelque ') else words


TORRELQUE = Program()

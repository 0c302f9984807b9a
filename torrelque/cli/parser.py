"""The parser of the command line, made of its commands; and the one way in and out.

A command is a row of `COMMANDS`: its arguments, and a function that is called with what was found and returns the exit
code.  The module of a command imports what the command needs when it is called.
"""

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

from .acting import ACTING
from .asking import ASKING
from .clean import as_text, shown
from .command import Command
from .failure import Exit, Failure, is_unwritable
from .filters import TIMES
from .program import TORRELQUE, Program
from .run import add_run_arguments, run
from .session import is_read_only
from .viewing import VIEWING

NEEDED = ('rich', 'msgspec', *(() if sys.version_info >= (3, 11) else ('tomli',)))
EXTRA = "the command line needs rich and msgspec, of the extra 'cli': pip install 'torrelque[cli]'"


COMMANDS = (
    Command(
        'run',
        'start a worker, or those of a file',
        'Start a worker for the tasks of an application, in this process or in several; or, without a target, the '
        'workers of a file of settings, each in processes of its own. SIGTERM and Ctrl-C have it '
        'finish what is in hand; a second one gives that back.',
        add_run_arguments,
        run,
    ),
    *ASKING,
    *ACTING,
    *VIEWING,
)


class Version(argparse.Action):
    """Shows the version, which is looked for when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Show it.

        :raises SystemExit: then.
        """
        from torrelque.worker.version import version

        print('torrelque', version())
        parser.exit()


class Parser(argparse.ArgumentParser):
    """A parser whose complaints may be shown, whatever was given."""

    mixed = False
    """See `Command`."""

    def parse_known_args(self, *args: Any, **options: Any) -> Any:
        """Parse as argparse does, which calls this for the words behind a command; and again for what is mixed."""
        if not self.mixed:
            return super().parse_known_args(*args, **options)
        words, *more = args
        at = words.index('--') if '--' in words else len(words)
        # Of words behind --, argparse forgets that they are no options.  No word of a command line can have a NUL.
        kept = [f'\0{word}' for word in words[at + 1 :]]
        self.mixed = False
        try:
            found, rest = self.parse_known_intermixed_args([*words[:at], *kept], *more, **options)
        finally:
            self.mixed = True
        for name, value in vars(found).items():
            if isinstance(value, str):
                setattr(found, name, value.removeprefix('\0'))
        return found, [word.removeprefix('\0') for word in rest]

    def error(self, message: str) -> NoReturn:
        """Complain, and show the usage.

        :raises SystemExit: with 2.
        """
        super().error(shown(message))

    def print_help(self, file: Any = None) -> None:
        """Write the help; other than by argparse, an error of the disk is one."""
        (file or sys.stdout).write(self.format_help())


def make_parser(program: Program = TORRELQUE) -> argparse.ArgumentParser:
    """The parser of all commands; what it finds has an attribute ``command``, a `Command` or None."""
    parser = Parser(program.name, description='A work queue on Redis, Valkey or KeyDB.', allow_abbrev=False)
    parser.add_argument('--version', action=Version, nargs=0, help="show program's version number and exit")
    parser.set_defaults(command=None, complain=parser.error)
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    for command in COMMANDS:
        # Without a help a command is not listed; it is understood all the same, and says why it is refused.
        told: dict[str, Any] = {} if command.acts and is_read_only() else {'help': command.help}
        one = commands.add_parser(command.name, description=command.description, allow_abbrev=False, **told)
        one.mixed = command.mixed
        one.set_defaults(program=program)
        command.add_arguments(one)
        one.set_defaults(command=command, complain=one.error)
    return parser


def main(arguments: Sequence[str] | None = None, program: Program = TORRELQUE) -> int:
    """Carry out a command line, by default that of the process; its exit code.

    :param arguments: its words, without that of the program.
    :param program: what it is a command line of, with what that brings where the words say nothing.
    :raises SystemExit: by ``--help`` and ``--version``, and where the command line cannot be parsed.
    """
    # A stream that was closed by whoever has started us is None, which nobody can read or write.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - it is open to the end of the process
    sys.stdout = sys.stdout or open(os.devnull, 'w')  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, 'w')  # noqa: SIM115
    try:
        try:
            return _carry_out(arguments, program)
        finally:
            _let_go(sys.stderr)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever reads our output has seen enough.  What Python still wants to write at its end goes nowhere.
        _drop(sys.stdout)
        return Exit.WELL
    except OSError as exc:
        if not is_unwritable(exc):
            raise
        _drop(sys.stdout)
        return _end(Failure(f'standard output cannot be written: {exc.strerror}', Exit.ILL))


def _let_go(stream: TextIO) -> None:
    """Have what could not be written to a stream go nowhere.  Python would try once more at its end, and end with a
    status of its own."""
    try:
        stream.flush()
    except OSError:
        _drop(stream)


def _drop(stream: TextIO) -> None:
    """Have whatever is still written to a stream go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _joined(words: Sequence[str]) -> list[str]:
    """The words, with an instant such as ``-2h`` joined to its option: argparse would take it for an option."""
    found: list[str] = []
    for word in map(as_text, words):
        if found and found[-1] in TIMES and re.fullmatch(r'-[\d.]+[smhd]?', word):
            found[-1] += f'={word}'
        else:
            found.append(word)
    return found


def _carry_out(arguments: Sequence[str] | None, program: Program) -> int:
    parser = make_parser(program)
    found, rest = parser.parse_known_args(_joined(sys.argv[1:] if arguments is None else arguments))
    if rest:
        # By the parser of the command, whose usage is shorter to read than that of all.
        found.complain(f'unrecognized arguments: {" ".join(rest)}')
    command: Command | None = found.command
    if command is None:
        parser.print_help(sys.stderr)
        return Exit.USAGE
    found.arguments, found.parser = arguments, parser
    if getattr(found, 'app', '') is None and found.url is None and not getattr(found, 'demo', False):
        found.app, found.url = program.app, None if program.app else program.url
    try:
        if any(importlib.util.find_spec(name) is None for name in NEEDED):
            raise Failure(EXTRA)
        return command.call(found)
    except Failure as exc:
        return _end(exc, getattr(found, 'log', 'text'))


def _end(failure: Failure, form: str = 'text') -> int:
    """Say why a command ends; its exit code."""
    from .logs import tell

    tell(failure, form)
    return failure.code

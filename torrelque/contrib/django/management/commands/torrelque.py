"""``manage.py torrelque …``: the command line of torrelque, with Django set up, and server and app of the settings."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management import BaseCommand, CommandError
from django.db import connections

from torrelque.cli import Program, main
from torrelque.contrib.django import read_settings

OWN = ('--settings', '--pythonpath')
"""Options of ``manage.py`` itself, which Django has carried out before there is a command."""
USAGE = 2
"""The exit code where the settings cannot be meant: starting it again does not help."""


class Command(BaseCommand):
    """The whole command line; its words are those of ``torrelque``, and its exit codes."""

    help = 'Run workers, and look after queues: as the command torrelque, with the server and the app of the settings.'
    requires_system_checks: Sequence[str] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Carry out a command line of ``manage.py``.

        :raises SystemExit: always, with the exit code.
        """
        name = os.path.basename(argv[0])
        name = f'python {name}' if name.endswith('.py') else name
        name = 'python -m django' if name == 'python __main__.py' else name
        try:
            code = self._run(_without_own(argv[2:]), f'{name} {argv[1]}', [sys.executable, *sys.orig_argv[1:]])
        finally:
            connections.close_all()
        sys.exit(code)

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """``manage.py help torrelque``."""
        self.run_from_argv([prog_name, subcommand, '--help'])

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The words, for ``call_command``."""
        parser.add_argument('words', nargs=argparse.REMAINDER, help='a command line of torrelque')

    def handle(self, *args: Any, **options: Any) -> None:
        """Carry out ``call_command('torrelque', 'stats', '--json')``, once for a process: as at the end of any command
        line, the connections of the app are closed.

        :raises CommandError: with ``returncode``, where that is not 0.
        """
        words = [*args, *options['words']]
        code = self._run(words, 'torrelque', [sys.executable, '-m', 'django', 'torrelque', *words])
        if code:
            raise CommandError(f'torrelque has ended with {code}', returncode=code)

    def _run(self, words: list[str], name: str, command: Sequence[str]) -> int:
        try:
            found = read_settings()
        except ImproperlyConfigured as exc:
            self.stderr.write(f'{name}: {exc}')
            return USAGE
        app = ','.join(found.apps) or None
        return main(words, Program(name, command=command, app=app, url=found.url, queues=found.queues))


def _without_own(words: Sequence[str]) -> list[str]:
    """The words without the options of ``manage.py``."""
    found: list[str] = []
    coming = iter(words)
    for word in coming:
        if word == '--':
            return [*found, word, *coming]
        if word in OWN:
            next(coming, None)
        elif not word.startswith(tuple(f'{one}=' for one in OWN)):
            found.append(word)
    return found

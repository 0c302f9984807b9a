"""The commands beside those that ask and act: the live view, and what shells are told."""

import argparse

from .command import Command, of_module
from .options import seconds
from .session import add_common

SHELLS = ('bash', 'zsh', 'fish')


def _add_top(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--every', metavar='TIME', type=seconds, default=1.0, help='from one look to the next, 1s')
    add_common(parser)


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('shell', metavar='SHELL', choices=SHELLS, help='bash, zsh or fish')


VIEWING = (
    Command('top', 'watch queues live', 'Queues, their functions, groups, workers and dead tasks, live in the '
            'terminal; ? tells the keys. Where standard output is no terminal, it is torrelque stats --watch.',
            _add_top, of_module('.top', 'top')),
    Command('completion', 'print what has a shell complete this command', 'Print a script for a shell, which then '
            'completes commands, options and their words, without starting Python: eval "$(torrelque completion bash)" '
            'in ~/.bashrc, likewise in ~/.zshrc behind compinit, or torrelque completion fish > '
            '~/.config/fish/completions/torrelque.fish', _add_completion, of_module('.completion', 'completion')),
)  # fmt: skip

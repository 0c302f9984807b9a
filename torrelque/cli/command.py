"""What a sub-command is."""

import argparse
import importlib
from collections.abc import Callable
from typing import NamedTuple


class Command(NamedTuple):
    """A sub-command."""

    name: str
    help: str
    """One line for the list of the commands."""
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    call: Callable[[argparse.Namespace], int]
    """Returns the exit code, or raises `Failure`.  The namespace has ``arguments`` too, the words that were parsed, or
    None for those of the process; and ``parser``, that of all commands."""
    acts: bool = False
    """Whether it changes something, so that it is not there where only reading is allowed."""


def of_module(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """A function of a module of this layer, which is imported when it is called, so that help is fast."""

    def call(found: argparse.Namespace) -> int:
        function: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module, __package__), name)
        return function(found)

    return call

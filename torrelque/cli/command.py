"""What a sub-command is."""

import argparse
import gc
import importlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


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
    mixed: bool = False
    """Whether options may stand between its positional arguments, of which one may be missing."""


def of_module(module: str, name: str) -> Callable[[argparse.Namespace], int]:
    """A function of a module of this layer, which is imported when it is called, so that help is fast."""

    def call(found: argparse.Namespace) -> int:
        function: Callable[[argparse.Namespace], int] = getattr(_load(module), name)
        return function(found)

    return call


def _load(module: str) -> Any:
    """Import a module, and what all commands need that ask or act.

    What modules are made of stays to the end.  So looking for garbage among it, while they are imported and when the
    process ends, finds nothing, and takes a fifth of the time of a short command.
    """
    if 'torrelque.operate' in sys.modules:
        return importlib.import_module(module, __package__)
    gc.disable()
    try:
        found = importlib.import_module(module, __package__)
        for name in ('torrelque.operate', 'torrelque.tasks.address', 'rich.table'):
            importlib.import_module(name)
        gc.freeze()
    finally:
        gc.enable()
    return found

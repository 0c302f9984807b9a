"""The commands that change something."""

from .command import Command

ACTING: tuple[Command, ...] = ()

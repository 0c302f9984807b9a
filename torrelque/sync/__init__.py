"""The queue for synchronous code: Django, Flask, scripts and the REPL."""

from .queue import Torrelque

__all__ = ['Torrelque']

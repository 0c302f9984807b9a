"""Errors that are alike: what is the same in them, by a fingerprint, and how often each came."""

from typing import NamedTuple

from torrelque import Torrelque

from .values import Errors


class Fault(NamedTuple):
    """What is the same in errors that are alike."""

    fingerprint: str
    what: str
    where: str
    message: str


def find_fault(error: str) -> Fault:
    """What an error is a case of."""
    raise NotImplementedError


async def read_errors(queue: Torrelque, most: int) -> Errors:
    """The errors of the newest so many dead tasks, and of as many delayed ones."""
    raise NotImplementedError

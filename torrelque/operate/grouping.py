"""The survey of groups: all of them are looked at, 100 a call, and the first by some figure are kept."""

from torrelque import Torrelque

from .values import Groups, GroupView

ORDERS = ('waiting', 'oldest', 'slots', 'name')


async def survey(queue: Torrelque, by: str, most: int, pattern: str | None) -> Groups:
    """The first groups by a figure; ``pattern`` has ``*``."""
    raise NotImplementedError


async def read_group(queue: Torrelque, name: str) -> GroupView:
    """One group; one that has nothing is told with zeros."""
    raise NotImplementedError

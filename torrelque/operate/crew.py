"""Workers by their hearts: those that live, that are stuck, and that were lost in the last hour."""

from torrelque import Torrelque

from .values import WorkerView


async def read_workers(queue: Torrelque, running: bool = True) -> list[WorkerView]:
    """The workers of a queue, lost ones too, in order of their names; without ``running`` only what is small."""
    raise NotImplementedError

"""Decorated functions whose calls are tasks: typed, in bulk, deferred, in strict order.

It stands on the public names of `torrelque` and `torrelque.worker`, on `torrelque.protocol.check`, and on what modules
of the worker open to other layers by an ``__all__`` of their own.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .names import *  # noqa: F403
    from .names import __all__ as __all__


def __getattr__(name: str) -> Any:
    # Others use single modules of this package, and need not wait for all that its names need.
    return getattr(importlib.import_module('.names', __package__), name)


def __dir__() -> list[str]:
    return [*globals(), *__getattr__('__all__')]

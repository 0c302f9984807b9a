"""One file of settings, in TOML: server, queues with their limits, workers, schedules, health, alerts, dashboard.

`Config.load` reads it and tells of all that is wrong with it at once.  It needs msgspec, of the extra ``cli``.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .names import *  # noqa: F403
    from .names import __all__ as __all__


def __getattr__(name: str) -> Any:
    # The command line has single modules of this package at once, and the rest where there is a file.
    if name.islower() and name != '__all__':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module('.names', __package__), name)


def __dir__() -> list[str]:
    return [*globals(), *__getattr__('__all__')]

"""How workers and queues are, for what watches over them from outside: metrics.

Each name is imported when it is asked for, because each needs other libraries, or none.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .collecting import Collector
    from .metrics import Metrics

__all__ = ['Collector', 'Metrics']

_PLACES = {'Collector': 'collecting', 'Metrics': 'metrics'}
"""Which module has a name."""


def __getattr__(name: str) -> Any:
    if (place := _PLACES.get(name)) is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'.{place}', __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

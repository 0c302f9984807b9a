"""Django: settings, ``manage.py torrelque``, calls on commit, permissions, the dashboard beside it, its tasks backend.

It stands on the public names of the other layers.  Django imports it by ``INSTALLED_APPS``, before there are models; so
each part is imported when it is asked for.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .acts import log_act
    from .backend import Backend
    from .commit import aenqueue_on_commit, enqueue_on_commit
    from .mounting import mount
    from .permitting import permit
    from .setting import Settings, read_settings

_PLACES = {
    'Backend': 'backend',
    'Settings': 'setting',
    'aenqueue_on_commit': 'commit',
    'enqueue_on_commit': 'commit',
    'log_act': 'acts',
    'mount': 'mounting',
    'permit': 'permitting',
    'read_settings': 'setting',
}

__all__ = [
    'Backend',
    'Settings',
    'aenqueue_on_commit',
    'enqueue_on_commit',
    'log_act',
    'mount',
    'permit',
    'read_settings',
]


def __getattr__(name: str) -> Any:
    if (place := _PLACES.get(name)) is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if name == 'Backend' and importlib.util.find_spec('django.tasks') is None:
        place = 'without_tasks'
    return getattr(importlib.import_module(f'.{place}', __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

"""The apps of the tasks backends by their aliases, for ``torrelque run torrelque.contrib.django.served:default``."""

# Django has these from 6.0 on.
# pyright: reportMissingImports=false

from typing import Any


def __getattr__(alias: str) -> Any:
    from django.conf import settings

    from .setting import backends

    if not settings.configured or alias not in backends():
        raise AttributeError(f'TASKS of the settings has no backend of torrelque named {alias!r}')
    from django.tasks import task_backends

    return task_backends[alias].app

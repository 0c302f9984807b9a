"""``manage.py check``: the settings are looked at, and no server is asked."""

from typing import Any

from django.core import checks

from .setting import find_mistakes


def check_settings(app_configs: Any = None, **_: Any) -> list[checks.CheckMessage]:
    """What is wrong with ``TORRELQUE`` of the settings, as errors of Django's checks."""
    return [
        checks.Error(mistake.sentence, hint=mistake.hint, id=f'torrelque.E{mistake.number:03}')
        for mistake in find_mistakes()
    ]

"""What stands for the backend of tasks where Django is older than 6.0, and has no tasks."""

from typing import Any, NoReturn

import django
from django.core.exceptions import ImproperlyConfigured


class Backend:
    """The backend ``torrelque.contrib.django.Backend`` of ``TASKS``, which needs Django 6.0 or later."""

    def __new__(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuse to be made.

        :raises django.core.exceptions.ImproperlyConfigured: always.
        """
        raise ImproperlyConfigured(
            f'torrelque.contrib.django.Backend needs the tasks of Django 6.0; this is Django {django.__version__}'
        )

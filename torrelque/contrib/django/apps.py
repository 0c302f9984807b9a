"""The application for ``INSTALLED_APPS``: when Django is set up, workers of the process look after its connections."""

from collections.abc import Callable

from django.apps import AppConfig
from django.core import checks

from torrelque.worker.adapting import adapt_jobs

from .checking import check_settings
from .connections import adapt


class TorrelqueConfig(AppConfig):
    """The application ``torrelque``."""

    name = 'torrelque.contrib.django'
    label = 'torrelque'
    verbose_name = 'Torrelque'
    take_back: Callable[[], None]
    """Has workers that are made from now on look after no connections."""
    default_auto_field = 'django.db.models.BigAutoField'

    def ready(self) -> None:
        """Register what has to be there in each process."""
        checks.register(check_settings, 'torrelque')
        self.take_back = adapt_jobs(adapt)

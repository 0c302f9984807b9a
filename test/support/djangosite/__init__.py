"""A site of Django in the process of the tests, with a database of its own."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from typing import Any

SETTINGS = 'support.djangosite.settings'


@functools.cache
def set_up() -> Any:
    """Set Django up, once for the process, and make its tables; the application of torrelque.

    Workers of other tests are not to look after connections, so that is taken back.
    """
    folder = tempfile.mkdtemp(prefix='trq')
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ['TORRELQUE_TEST_DATABASE'] = f'{folder}/db.sqlite3'
    os.environ['DJANGO_SETTINGS_MODULE'] = SETTINGS
    try:
        import django

        django.setup()
    finally:
        del os.environ['DJANGO_SETTINGS_MODULE']
    from django.apps import apps
    from django.core.management import call_command

    config = apps.get_app_config('torrelque')
    config.take_back()
    call_command('migrate', verbosity=0, run_syncdb=True)
    return config

"""The site for a server: Django, and the dashboard beside it."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from torrelque.contrib.django import log_act, mount, permit
from torrelque.dashboard import Dashboard

os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')
django = get_asgi_application()

from shop.tasks import app  # noqa: E402 - models can be imported now

# The static files of the admin are for a web server in front, if there is one.
application = mount(
    ASGIStaticFilesHandler(django), Dashboard(app, permit=permit, on_act=log_act, title='Shop'), '/queues'
)

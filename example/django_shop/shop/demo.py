"""A shop in Django whose orders are packed in the background, with the dashboard of its queue beside it.

    python example/django_shop              # on a server of its own; prints its address, and who may log in

A view places an order and enqueues its task on commit.  The worker is another process, ``manage.py torrelque run``.  A
teapot breaks when it is packed: its task is tried again, and is dead then.  In the dashboard, at ``/queues/``, ann may
have it tried once more, and joe may only look: both belong to the staff, and what each may do are permissions of
Django.  What ann does there is in the log of the admin, too.
"""

import argparse
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import django
import uvicorn
from django.core.management import call_command

from torrelque.embedded import Server

MANAGE = Path(__file__).parents[1] / 'manage.py'
LEASH = '"$@" & worker=$!; read _; kill $worker; wait $worker'
"""A shell that ends a command when its own input ends: so the worker does not outlive this process, however that ends.
"""


def make_users(password: str) -> None:
    from django.contrib.auth.models import User

    User.objects.create_superuser('ann', password=password)
    User.objects.create_user('joe', password=password, is_staff=True)


@contextlib.contextmanager
def working() -> Iterator[None]:
    """Have a worker, in a process of its own."""
    command = [sys.executable, str(MANAGE), 'torrelque', 'run', '--log-level', 'warning']
    leash = ['sh', '-c', LEASH, 'sh', *command]
    with subprocess.Popen(leash, stdin=subprocess.PIPE, start_new_session=True):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python example/django_shop', description=(__doc__ or '').partition('\n')[0]
    )
    add = parser.add_argument
    add('--port', type=int, default=8000, metavar='PORT', help='(default: %(default)s; 0 is any that is free)')
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    add('--password', default='secret', help='of ann and joe (default: %(default)s)')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as at Ctrl-C
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='shop-'))
        listener = stack.enter_context(socket.create_server(('127.0.0.1', args.port)))
        os.environ['SHOP_QUEUES'] = args.url or stack.enter_context(Server()).url
        os.environ['SHOP_DATABASE'] = f'{folder}/db.sqlite3'
        os.environ['SHOP_SECRET'] = secrets.token_urlsafe()
        os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'
        django.setup()
        call_command('migrate', verbosity=0)
        make_users(args.password)
        stack.enter_context(working())
        site = f'http://127.0.0.1:{listener.getsockname()[1]}'
        print(f'The shop is at {site}/, its queue at {site}/queues/', flush=True)
        print(f'ann may do everything there, and joe may look; their password is {args.password!r}', flush=True)
        config = uvicorn.Config('shop.asgi:application', log_level='warning', timeout_graceful_shutdown=2)
        uvicorn.Server(config).run(sockets=[listener])

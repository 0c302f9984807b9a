"""A FastAPI application with a sign-up whose mails are sent in the background, by a worker in the same process.

    python example/signup.py                # on a server of its own; prints its address, and where the mails are
    curl --json '{"address": "joe@doe.com"}' http://127.0.0.1:8000/signup
    curl http://127.0.0.1:8000/mail/welcome-…

The dashboard of the queue is at ``/queues``: log in as ann, who may do everything there, or as joe, who may look.

The application answers at once; the mail is a task.  What stands for a mail server is a folder, in which each mail is a
file.  While there is a file ``down`` in it (``touch FOLDER/down``) it refuses mails, and tasks are tried again, later
each time.  Stop the application and start it again on a server that lives on (``--url``): no mail is lost.  Whoever
signs up twice gets one mail.
"""

import argparse
import contextlib
import hashlib
import hmac
import html
import os
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

try:
    import redis.asyncio
    import uvicorn
    from fastapi import Body, FastAPI, HTTPException, Request
    from fastapi.responses import HTMLResponse, RedirectResponse
    from starlette.middleware.sessions import SessionMiddleware

    import torrelque
    from torrelque import Torrelque
    from torrelque.dashboard import GRANTS, Dashboard, Redirect, Visitor
    from torrelque.embedded import Server
    from torrelque.tasks import Tasks, current
    from torrelque.worker import Backoff, Worker
except ModuleNotFoundError as exc:
    sys.exit(f"{exc}; this example needs more than the others: pip install '.[dashboard,embedded,example]'")


class MailFolder:
    """Stands for a mail server, with calls that block, as those of `smtplib`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def send(self, name: str, message: EmailMessage) -> None:
        if (self.folder / 'down').exists():
            raise ConnectionRefusedError('the mail server is down')
        # A mail that is sent a second time takes the place of the first: attempts may be repeated.
        (self.folder / f'{name}.part').write_bytes(bytes(message))
        (self.folder / f'{name}.part').rename(self.folder / f'{name}.eml')


LOGIN = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Log in</title>
<form method="post"><input type="hidden" name="next" value="{next}">
<label>Name <input name="name" required></label>
<label>Password <input name="password" type="password" required></label>
<button>Log in</button> {told}</form></html>"""
USERS = {'ann': GRANTS, 'joe': ()}
"""Whoever may see the dashboard, and what they may do there."""


def permit(request: Request) -> Visitor | Redirect:
    """Who may see the dashboard: the users of the application, by its own session."""
    name = request.session.get('user')
    if name not in USERS:
        return Redirect(f'/login?next={quote(request.url.path)}')
    return Visitor(name, USERS[name])


def add_login(app: FastAPI, password: str) -> None:
    """A login with a session in a signed cookie, as many an application has one."""
    app.add_middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(), same_site='lax', https_only=False)

    def show(back: str, told: str = '', status: int = 200) -> HTMLResponse:
        return HTMLResponse(LOGIN.format(next=html.escape(back), told=told), status)

    @app.get('/login')
    async def show_login(next: str = '/queues/') -> HTMLResponse:
        return show(next)

    @app.post('/login')
    async def log_in(request: Request) -> Any:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        name, back = form.get('name', ''), form.get('next', '')
        if name not in USERS or not hmac.compare_digest(form.get('password', '').encode(), password.encode()):
            return show(back, 'That is none of us.', 403)
        request.session['user'] = name
        # Back to a page of this site, and to no other.
        inside = back.startswith('/queues/')
        return RedirectResponse(back if inside else '/queues/', 303)


def make_app(url: str, mails: MailFolder, password: str) -> FastAPI:
    client = redis.asyncio.from_url(url)
    queue = Torrelque(client, queue='signup')
    tasks = Tasks(queue)

    # A function that is no coroutine runs in a thread, where it may block.
    @tasks.task(name='send_welcome', max_attempts=20, timeout=30, retry=Backoff(base=0.5, cap=60), result_ttl=3600)
    def send_welcome(address: str) -> str:
        message = EmailMessage()
        message['From'] = 'welcome@example.com'
        message['To'] = address
        message['Subject'] = 'Welcome'
        message.set_content('Good to see you.')
        mails.send(str(current().id), message)
        return 'sent'

    worker = Worker(tasks, concurrency=10, heartbeat=5)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Leaving the block ends the worker: what is running may end, what does not is given back.
        async with client, queue, tasks, worker, contextlib.aclosing(dashboard):
            yield

    app = FastAPI(lifespan=lifespan)
    dashboard = Dashboard(tasks, permit=permit, title='Sign-up')
    app.mount('/queues', dashboard)
    add_login(app, password)

    @app.post('/signup', status_code=202)
    async def sign_up(address: Annotated[str, Body(embed=True)]) -> dict[str, str]:
        if '@' not in address:
            raise HTTPException(422, 'this is no address')
        # The same address is the same task: whoever clicks twice does not get two mails.
        task_id = 'welcome-' + hashlib.sha256(address.lower().encode()).hexdigest()[:16]
        try:
            handle = await send_welcome.options(task_id=task_id).enqueue(address)
        except torrelque.DuplicateError:
            raise HTTPException(409, f'this address has signed up: /mail/{task_id}') from None
        return {'mail': f'/mail/{handle.id}'}

    @app.get('/mail/{task_id}')
    async def read_mail(task_id: str) -> dict[str, Any]:
        try:
            state = await tasks.handle(task_id).state()
        except torrelque.LookupError:
            raise HTTPException(404, 'there is no such mail') from None
        error = (state.error or '').strip().rpartition('\n')[2] or None
        return {'state': state.status.name.lower(), 'attempts': state.dequeue_count, 'last error': error}

    @app.get('/health')
    async def read_health() -> dict[str, Any]:
        health = worker.health()
        if not health.healthy:
            raise HTTPException(503, f'the worker is {health.state}')
        return {'sent': health.succeeded, 'failed attempts': health.failed, 'in hand': len(health.running)}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--host', default='127.0.0.1', help='address to listen on (default: %(default)s, this machine only)')
    add('--port', type=int, default=8000, metavar='PORT', help='(default: %(default)s; 0 is any that is free)')
    add('--password', default='secret', help='of ann and joe, for the dashboard (default: %(default)s)')
    add('--mails', type=Path, metavar='FOLDER', help='that stands for a mail server (default: a temporary one)')
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as at Ctrl-C
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        listener = stack.enter_context(socket.create_server((args.host, args.port)))
        url = args.url or stack.enter_context(Server()).url
        folder = args.mails or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='mails-')))
        folder.mkdir(parents=True, exist_ok=True)
        host, port = listener.getsockname()[:2]
        print(f'Sign up at http://{host}:{port}/signup; mails are in {folder}, tasks on {url}.', flush=True)
        print(f'The queue is at http://{host}:{port}/queues/, for ann and joe; password {args.password!r}', flush=True)
        web = make_app(url, MailFolder(folder), args.password)
        config = uvicorn.Config(web, log_level='warning', timeout_graceful_shutdown=2)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == '__main__':
    main()

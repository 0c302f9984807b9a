"""A server of HTTP that webhooks are sent to, and that answers as badly as a test wants."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

HANG = 'hang'
DRIP = 'drip'
ENORMOUS = 'enormous'
NOISE = 'noise'


class Taken(NamedTuple):
    """A request."""

    path: str
    headers: dict[str, str]
    body: Any


class Hook:
    """The server; its answers are given one after the other, the last one from then on."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: list[int | str] = [200]
        self.taken: list[Taken] = []
        self.sent = 0
        """Bytes of an answer without end that were sent."""
        self.over = threading.Event()
        self.came = threading.Condition()

    @property
    def url(self) -> str:
        """An address with a secret."""
        return f'http://127.0.0.1:{self.port}/hook/SECRET?key=SECRET'

    def wait(self, count: int = 1) -> list[Any]:
        """What was sent, once there is so much."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.taken) >= count, 90), self.taken
        return [one.body for one in self.taken]


@contextlib.contextmanager
def open_hook() -> Iterator[Hook]:
    """A server for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers['content-length'])))
            with hook.came:
                hook.taken.append(Taken(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                answer = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
                hook.came.notify_all()
            with contextlib.suppress(OSError):
                self._answer(answer)

        def do_GET(self) -> None:
            hook.taken.append(Taken(self.path, {}, None))

        def _answer(self, answer: int | str) -> None:
            if isinstance(answer, int):
                self.send_response(answer)
                self.send_header('Location', f'http://127.0.0.1:{hook.port}/elsewhere')
                self.send_header('Content-Length', '0')
                self.end_headers()
            elif answer == HANG:
                hook.over.wait(60)
            elif answer == NOISE:
                self.wfile.write(b'\x00\xff no HTTP at all\r\n\r\n')
            elif answer == DRIP:
                while not hook.over.wait(0.02):
                    self.wfile.write(b'x')
            else:
                self.send_response(200)
                self.end_headers()
                while not hook.over.is_set():
                    hook.sent += self.connection.send(b'x' * 65536)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(('127.0.0.1', 0), Handler)
    hook = Hook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return int(one.getsockname()[1])

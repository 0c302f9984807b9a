"""Webhooks from a synchronous script, each shop's in the order in which things happened there; and the proof.

    python example/fifo.py

A decorated function is called as usual.  The call returns as soon as it is in the queue, and a worker in a thread of
the script sends the webhook.  Calls that share a queue run one at a time, in the order of the calls: when a shop's
server does not take a webhook, those behind it wait until it does, and other shops do not notice.
"""

import argparse
import contextlib
import http.server
import itertools
import json
import logging
import os
import secrets
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import redis
import redis.asyncio

from torrelque import Torrelque
from torrelque.embedded import Server
from torrelque.tasks import Tasks
from torrelque.worker import Delivery, ThreadWorker


class Shop(http.server.BaseHTTPRequestHandler):
    """The shops' server.  It is busy three times when it is to take its first webhook of a shipment."""

    received: dict[str, list[tuple[int, str]]]
    busy: Iterator[bool]

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        shop = self.path.removeprefix('/')
        if (shop, event['what']) == ('books', 'shipped') and next(self.busy):
            self.send_error(503)
            return
        self.received[shop].append((event['order'], event['what']))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def run_shops() -> Iterator[str]:
    """Their server's URL."""
    Shop.received = {'books': [], 'flowers': []}
    Shop.busy = itertools.chain([True] * 3, itertools.repeat(False))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Shop) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_port}'
        finally:
            server.shutdown()
            thread.join()


def post(url: str, **event: object) -> None:
    request = urllib.request.Request(url, json.dumps(event).encode())
    try:
        with urllib.request.urlopen(request, timeout=10):
            pass
    except urllib.error.HTTPError as exc:
        with exc:  # it holds the connection
            raise


def tell_success(delivery: Delivery, result: object) -> None:
    print(f'  {delivery.task["task"]:8} {delivery.task["args"]}  sent at attempt {delivery.attempt}', flush=True)


def tell_error(delivery: Delivery, error: BaseException) -> None:
    print(f'  {delivery.task["task"]:8} {delivery.task["args"]}  {error}', flush=True)


def send_webhooks(url: str, name: str, shops: str, orders: int) -> None:
    logging.getLogger('torrelque.worker').setLevel(logging.ERROR)  # we tell of failures ourselves
    app = Tasks(Torrelque(redis.asyncio.from_url(url), queue=name))

    # Without end, after a fifth of a second each time.
    @app.fifo(queue='books', max_retries=-1, retry_wait=0.2, name='books', on_success=tell_success, on_error=tell_error)
    def tell_books(order: int, what: str) -> None:
        post(f'{shops}/books', order=order, what=what)

    @app.fifo(queue='flowers', name='flowers', on_success=tell_success, on_error=tell_error)
    def tell_flowers(order: int, what: str) -> None:
        post(f'{shops}/flowers', order=order, what=what)

    with contextlib.closing(app), ThreadWorker(app):
        handles = []
        for order, what in itertools.product(range(1, orders + 1), ('paid', 'shipped', 'delivered')):
            handles.append(tell_books(order, what))
            handles.append(tell_flowers(order, what))
        print(f'{len(handles)} webhooks are in the queue, and the script goes on.', flush=True)
        for handle in handles:
            handle.wait_result(timeout=60)


def clean(url: str, name: str) -> None:
    """Leave nothing behind on a server that is not ours."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f'{{{name}}}:*', count=1000):
            client.unlink(key)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--orders', type=int, default=5, metavar='N', help='of each shop (default: %(default)s)')
    add('--url', default=os.environ.get('REDIS_URL'), help='of a server (default: REDIS_URL, else one of our own)')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as at Ctrl-C
    try:
        with contextlib.ExitStack() as stack:
            url = args.url or stack.enter_context(Server()).url
            name = f'webhooks-{secrets.token_hex(4)}'  # a queue of our own: what is in it is ours alone
            stack.callback(clean, url, name)
            send_webhooks(url, name, stack.enter_context(run_shops()), args.orders)
    except KeyboardInterrupt:
        print('\nStopped before the end.')
        return 0
    expected = [*itertools.product(range(1, args.orders + 1), ('paid', 'shipped', 'delivered'))]
    for shop, received in Shop.received.items():
        print(f'{shop:8} got {len(received):3} webhooks, ' + ('in order' if received == expected else 'NOT in order'))
    return 0 if all(received == expected for received in Shop.received.values()) else 1


if __name__ == '__main__':
    sys.exit(main())

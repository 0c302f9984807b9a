"""A page that starts tasks and shows them live: status, attempt, time to the next one, progress.

    python example/web                                  # on a server of its own; open the URL that it prints
    python example/web --url redis://localhost --processes 4

Start some tasks, reload the page, open it a second time, cut connections, stop the process and start it again: what was
started goes on, and the page shows it.  Kill a consumer process (`kill -9`): somebody else takes over its tasks.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterator

try:
    import redis.asyncio
    import uvicorn
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    import consumer
    from app import HEADERS, make_app
    from consumer import QUEUE, factor, number, run_consumers, server_url, stop_at_signals
    from lists import Lists
    from live import Live
    from torrelque import Torrelque
    from torrelque.embedded import Server
except ModuleNotFoundError as exc:
    sys.exit(f"{exc}; this example needs more than the others: pip install '.[example]'")


class WebServer(uvicorn.Server):
    """Leaves signals to us: open streams have to end first, and consumers and servers after it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def keep_process(url: str, args: argparse.Namespace, stop: asyncio.Event) -> None:
    """Run consumers in a process of their own; when it dies, in another.

    Its standard input is a pipe that only this process holds.  It ends with the pipe, whatever ends this process.
    """
    options = ['--url', url, '--consumers', str(args.consumers), '--speed', str(args.speed), '--until-eof']
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, consumer.__file__, *options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process
        )
        print(f'Consumer process {process.pid} has started.', flush=True)
        ending = asyncio.create_task(process.wait())
        await asyncio.wait([stopping, ending], return_when=asyncio.FIRST_COMPLETED)
        assert process.stdin is not None
        process.stdin.close()
        await ending
        if not stop.is_set():
            print(f'Consumer process {process.pid} has ended ({process.returncode}).', flush=True)
            await asyncio.wait([stopping], timeout=0.5)


async def run(args: argparse.Namespace, listener: socket.socket) -> None:
    stop = stop_at_signals()
    async with contextlib.AsyncExitStack() as stack:
        url = args.url or (await stack.enter_async_context(Server())).url
        client = await stack.enter_async_context(make_client(url))
        queue = await stack.enter_async_context(Torrelque(client, queue=QUEUE))
        lists = Lists(client, queue, args.speed)
        live = await stack.enter_async_context(Live(queue, lists, args.speed))
        config = uvicorn.Config(
            make_app(lists, live),
            lifespan='off',
            log_config=None,
            access_log=False,
            server_header=False,
            headers=HEADERS,
            timeout_graceful_shutdown=3,  # of a page that takes nothing
        )
        server = WebServer(config)
        jobs = [asyncio.create_task(server.serve(sockets=[listener]))]
        if args.processes:
            jobs += [asyncio.create_task(keep_process(url, args, stop)) for _ in range(args.processes)]
        elif args.consumers:
            jobs.append(asyncio.create_task(run_consumers(queue, args.consumers, args.speed, stop)))
        print(f'The page is at {address_of(listener)} and its queue on {url}; Ctrl-C stops.', flush=True)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *jobs], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        live.end_streams()
        server.should_exit = True
        await asyncio.wait(jobs)
        await asyncio.gather(*jobs)  # raises what went wrong, now that all of them have ended


def make_client(url: str) -> redis.asyncio.Redis:
    """For the example's own commands: a visitor who clicks is rather told soon that the server is away."""
    return redis.asyncio.from_url(
        url,
        decode_responses=True,
        socket_timeout=3,
        socket_connect_timeout=3,
        retry=Retry(NoBackoff(), 2),  # of the connections at hand some may have been cut
    )


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f'http://[{host}]:{port}/' if ':' in host else f'http://{host}:{port}/'


def listen(host: str, port: int) -> socket.socket:
    """Before anything else is started, so that a port that is taken is just a message."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as exc:
        hint = f'choose another one with --port, such as --port {port + 1}' if port else 'choose another --host'
        # Some versions of Python add the address to its text.
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
        sys.exit(f'Cannot listen on port {port} of {host}: {reason}; {hint}.')


def port_number(text: str) -> int:
    if number(text) > 65535:
        raise ValueError
    return number(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog='python example/web', description=(__doc__ or '').partition('\n')[0])
    add = parser.add_argument
    add('--host', default='127.0.0.1', help='address to listen on (default: %(default)s, this machine only)')
    add('--port', type=port_number, default=8000, metavar='PORT', help='(default: %(default)s; 0 is any that is free)')
    url = os.environ.get('REDIS_URL')
    add('--url', type=server_url, default=url, help='of a server (default: REDIS_URL, else one of our own)')
    add('--consumers', type=number, default=8, metavar='N', help='coroutines of each process (default: %(default)s)')
    add('--processes', type=number, default=0, metavar='N', help='for the consumers (default: the one of the page)')
    add('--speed', type=factor, default=1, metavar='X', help='so many times faster (default: %(default)s)')
    args = parser.parse_args()
    logging.basicConfig(format='%(message)s')
    asyncio.run(run(args, listen(args.host, args.port)))


if __name__ == '__main__':
    main()

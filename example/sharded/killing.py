"""A FastAPI application on three primaries of a Cluster, one of which is killed and comes back while it is used.

    python example/sharded                      # does it all by itself, in half a minute, and looks whether it was so
    python example/sharded/cluster.py           # the primaries alone, to try it yourself

``letters.py`` is an application as on one server, but for one line.  This program starts the primaries, by
``cluster.py``, a worker, and the application with its dashboard; and enqueues through HTTP, one request after the other
for each of some persons, and as many for anybody.  A primary is killed (`kill -9`).  Meanwhile what the others have
goes on, and the page says which shards are away.  Then it is started again.

At the end all that was acknowledged has been done, the letters to each person in the order in which they were asked
for, and the page shows all shards.  The exit code is 1 if anything of that is not so, or not within two minutes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

from cluster import Cluster, free_ports

T = TypeVar('T')

FOLDER = Path(__file__).parent
LEASH = '"$@" & process=$!; read _; kill $process; wait $process'
"""A shell that ends a command when its own input ends: so nothing outlives this process, however that ends."""
PERSONS = [f'person-{number}' for number in range(12)]
"""Each is a group, and has letters in order."""
ANYBODY = 4
"""So many callers send cards."""
ENOUGH = 150
"""So many requests are acknowledged before the primary is killed, while it is away, and when it is back."""
PATIENCE = 120
"""How long (s) anything may take."""


def say(what: str, told: str) -> None:
    print(f'{what:<14}{told}', flush=True)


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Ask until the answer is something."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := await look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f'it was not so for {PATIENCE} s')
        await asyncio.sleep(0.1)
    return answer


@contextlib.contextmanager
def running(log: Path, *words: str) -> Iterator[None]:
    """A command, in the folder of the application."""
    with log.open('wb') as output, subprocess.Popen(
        ['sh', '-c', LEASH, 'sh', sys.executable, '-m', *words],
        cwd=FOLDER, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
    ):  # fmt: skip
        yield


class Callers:
    """Whoever asks for letters and cards, until `stop`; a request that was answered is acknowledged."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.tasks: dict[str, tuple[str, int]] = {}
        """What was acknowledged: to whom, '' for anybody, and the number, by the id of the task."""
        self.refused = 0
        """Requests of which nobody knows whether they were carried out."""
        self._over = False
        self._callers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> 'Callers':
        self._callers = [asyncio.create_task(self._write(person)) for person in PERSONS]
        self._callers += [asyncio.create_task(self._write('', start)) for start in range(ANYBODY)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for caller in self._callers:
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)

    async def stop(self) -> None:
        """Return when all have their last answer."""
        self._over = True
        await asyncio.gather(*self._callers)

    def persons_since(self, count: int) -> set[str]:
        """Who was written to after so many requests were acknowledged."""
        return {to for to, _ in [*self.tasks.values()][count:] if to}

    async def _write(self, to: str, number: int = 0) -> None:
        while not self._over:
            question: dict[str, Any] = {'number': number, **({'to': to} if to else {})}
            answer = await self._client.post('/letters' if to else '/cards', params=question)
            if answer.status_code == 202:
                self.tasks[answer.json()['task']] = to, number
            elif answer.status_code == 503:
                self.refused += 1
            else:
                answer.raise_for_status()
            number += 1 if to else ANYBODY
            await asyncio.sleep(0.02)


class Page:
    """The page of the queue."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def away(self) -> list[tuple[int, str]] | None:
        """The shards that it says are away, and their servers; None where it shows nothing of the queue."""
        answer = await self._client.get('/queues/queue.json', params={'q': 'letter'})
        if not answer.is_success:
            return None
        return [(shard['number'], shard['server']) for shard in answer.json()['overview']['away']]


async def watch(cluster: Cluster, client: httpx.AsyncClient, journal: Path) -> dict[str, bool]:
    """Kill a primary and have it back while all goes on; what was so."""
    page = Page(client)
    killed, begun = 1, time.monotonic()
    async with Callers(client) as callers:

        async def more(count: int) -> None:
            wanted = len(callers.tasks) + count

            async def look() -> bool:
                return len(callers.tasks) >= wanted

            await until(look)

        await more(ENOUGH)
        say('enqueued', f'{len(callers.tasks)} by HTTP, for {len(PERSONS)} persons and for anybody')
        cluster.kill(killed)
        before = len(callers.tasks)
        say('kill -9', f'the primary at port {cluster.ports[killed]}')
        away = await until(page.away)
        say('page', f'shards {", ".join(str(number) for number, _ in away)} are away, of {away[0][1]}')
        await more(ENOUGH)
        alone = len(PERSONS) - len(callers.persons_since(before))
        say('meanwhile', f'{len(callers.tasks) - before} more; {alone} persons wait, whose groups are there')
        cluster.start(killed)
        before = len(callers.tasks)
        say('started', 'the primary, again')

        async def look() -> bool:
            return await page.away() == [] and callers.persons_since(before) == {*PERSONS}

        await until(look)
        say('page', 'all shards are there, and all persons are written to')
        await more(ENOUGH)
        await callers.stop()
    lost = await find_lost(client, [*callers.tasks])
    sent = read(journal)
    say('proof', f'{len(callers.tasks)} acknowledged, {len(lost)} of them lost; {callers.refused} refused')
    say('', f'in {time.monotonic() - begun:.0f} s')
    return {
        'page': {server for _, server in away} == {f'127.0.0.1:{cluster.ports[killed]}'},
        'goes on': 0 < alone < len(PERSONS),
        'nothing lost': not lost and all(number in sent[to] for to, number in callers.tasks.values()),
        'order': all(sent[person] == sorted(sent[person]) for person in PERSONS),
    }


def read(journal: Path) -> dict[str, list[int]]:
    """What was sent to whom, each once: a task may be done again when its primary was killed before it was released."""
    sent: dict[str, list[int]] = defaultdict(list)
    for to, number in map(json.loads, journal.read_text().splitlines()):
        if number not in sent[to]:
            sent[to].append(number)
    return sent


async def find_lost(client: httpx.AsyncClient, tasks: list[str]) -> list[str]:
    """Those that have no result."""
    limit = asyncio.Semaphore(20)

    async def look(task: str) -> bool:
        async with limit:
            return (await client.get('/sent', params={'task': task})).is_success

    found = await asyncio.gather(*map(look, tasks))
    return [task for task, well in zip(tasks, found, strict=True) if not well]


async def show(cluster: Cluster, port: int, journal: Path) -> bool:
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    async with httpx.AsyncClient(base_url=f'http://127.0.0.1:{port}', trust_env=False, timeout=PATIENCE) as client:

        async def is_ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return (await client.get('/queues/queue.json', params={'q': 'letter'})).is_success
            return False

        await until(is_ready)
        say('ready', f'the application at http://127.0.0.1:{port}, its dashboard at /queues/')
        looks = await watch(cluster, client, journal)
    print()
    for name, well in looks.items():
        say(name, 'yes' if well else 'NO')
    return all(looks.values())


def main() -> None:
    argparse.ArgumentParser(prog='python example/sharded', description=(__doc__ or '').partition('\n')[0]).parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as at Ctrl-C
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='sharded-')))
        with free_ports(7) as (port, *ports):
            pass
        cluster = stack.enter_context(Cluster(folder / 'data', ports[:3], ports[3:]))
        say('cluster', f'{cluster.url}: three primaries, processes {", ".join(map(str, cluster.pids()))}')
        for name in [name for name in os.environ if name == 'REDIS_URL' or name.startswith('TORRELQUE_')]:
            del os.environ[name]
        journal = folder / 'journal'
        journal.touch()
        os.environ.update(TORRELQUE_URL=cluster.url, JOURNAL=str(journal))
        logs = [folder / 'worker.log', folder / 'site.log']
        stack.enter_context(running(logs[0], 'torrelque', 'run', 'letters:app'))
        stack.enter_context(running(logs[1], 'uvicorn', 'letters:site', '--port', str(port)))
        try:
            well = asyncio.run(show(cluster, port, journal))
        except Exception:
            for log in logs:
                sys.stderr.write(log.read_text(errors='replace'))
            raise
        if not well:
            sys.exit(1)


if __name__ == '__main__':
    main()

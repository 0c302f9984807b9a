"""What an installed package has to do, on a server of its own: run by `release.py` in a clean environment."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import sys
from importlib.metadata import version
from pathlib import Path

import torrelque
import torrelque.sync
from torrelque.embedded import Server
from torrelque.tasks import Tasks
from torrelque.worker import Delivery, Worker


def import_all(whole: bool) -> int:
    """Import all modules; how many.

    What only something else brings along may be missing, if that is said.

    :param whole: whether all extras are there.
    """
    count, missing = 0, list[str]()
    if whole:
        import django.conf

        # Modules of models and their pages cannot be imported before.
        apps = [f'django.contrib.{name}' for name in ('admin', 'auth', 'contenttypes')]
        django.conf.settings.configure(INSTALLED_APPS=['torrelque.contrib.django', *apps])
        django.setup()
    # What fails here was told of already, when the package itself was imported.
    for module in pkgutil.walk_packages(torrelque.__path__, 'torrelque.', onerror=lambda name: None):
        if module.name.endswith('.__main__'):
            continue
        try:
            importlib.import_module(module.name)
            count += 1
        except (ModuleNotFoundError, torrelque.TorrelqueError) as exc:
            name = getattr(exc, 'name', None) or 'torrelque'
            if name.partition('.')[0] == 'torrelque' and 'of the extra' not in str(exc):
                raise
            missing.append(module.name)
    # Of a few modules, which are for another package's users, no extra brings what they need.
    assert not whole or len(missing) < 10, missing
    return count


async def use(server: Server) -> None:
    """A task by hand, one of a worker, one of a decorated function."""
    async with server.client() as client, torrelque.Torrelque(client, queue='plain') as queue:
        await queue.enqueue({'n': 1}, group='a', priority=1)
        task_id, task = await queue.dequeue(10)
        assert (task, await queue.release(task_id)) == ({'n': 1}, True)

        async def handle(delivery: Delivery) -> int:
            return int(delivery.task) + 1

        doubled = await queue.enqueue(1)
        await Worker(queue, handle, burst=True).run()
        assert (await queue.get_task_state(doubled)).result == 2

        async with torrelque.Torrelque(client, queue='calls') as calls:
            app = Tasks(calls)

            @app.task
            def plus(a: int, b: int) -> int:
                return a + b

            handle_of_call = await plus.enqueue(1, b=2)
            await Worker(app, burst=True).run()
            assert await handle_of_call.result(timeout=10) == 3


def main() -> None:
    """Try all of it, and say where."""
    place = Path(torrelque.__file__).resolve()
    assert Path(sys.prefix).resolve() in place.parents, place
    count = import_all('all' in sys.argv[1:])
    with Server() as server:
        asyncio.run(use(server))
        with server.sync_client() as client, torrelque.sync.Torrelque(client, queue='sync') as queue:
            queue.enqueue('task')
            task_id, task = queue.dequeue(10)
            assert (task, queue.release(task_id)) == ('task', True)
    print(f'torrelque {version("torrelque")} with Python {sys.version.split()[0]}: {count} modules, all works')


if __name__ == '__main__':
    main()

"""The settings of a file: its sections, and what is made of them."""

import functools
import importlib
import os
import secrets
import socket
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torrelque import Torrelque, TorrelqueError, TorrelqueQueue
from torrelque.sharded import Sharded
from torrelque.tasks.address import close_client, find_url, make_client

from .checks import backoff_of, breaker_of, find_problems, queues_of
from .finding import Place, Source, find, read
from .lines import line_of
from .problems import ConfigError, Keys, Problem, dotted, hidden
from .reading import Reading
from .sections import FileConfig, QueueConfig, WorkerConfig
from .variables import Filled

if TYPE_CHECKING:
    from torrelque.worker import App, Worker


class Config:
    """What a file says, checked: `load` reads it.

    Of the server, the environment goes before the file, as for all that has no ``url`` of its own.  What is made of it
    shares a client, in one event loop; at the end of ``async with``, or by `aclose`, all of that is closed.
    """

    path: str
    """The file."""
    found: str
    """How it was found, in words."""
    sections: FileConfig
    """What it says, and, where it says nothing, what holds by default."""
    url: str
    """The address of the server: that of ``TORRELQUE_URL`` or ``REDIS_URL``, else the file's, else the default."""
    queues: 'Mapping[str, ConfiguredQueue]'
    """The queues that the file names, in sections of their own or as those of workers."""
    workers: 'Mapping[str, ConfiguredWorker]'

    def __init__(self, place: Place, reading: Reading, written: Mapping[Keys, str]) -> None:
        self.path, self.found = place.path, place.how
        self.sections = reading.file
        self.given = frozenset(reading.given)
        """The keys that the file has, as the names that lead to each."""
        self.written = MappingProxyType({**written})
        """Texts that had a variable, by their keys, as they were written."""
        self.variable = next((name for name in ('TORRELQUE_URL', 'REDIS_URL') if os.environ.get(name)), None)
        """The variable that names the server, if one does."""
        self.url = find_url(None if self.variable is not None else self.sections.server.url)
        names = queues_of(self.sections)
        self.queues = MappingProxyType({name: ConfiguredQueue(self, name) for name in names})
        self.workers = MappingProxyType({name: ConfiguredWorker(self, name) for name in self.sections.workers})

        self._client: Any = None
        self._clients: list[Any] = []
        """Those of queues that have servers of their own."""
        self._made: list[TorrelqueQueue] = []

    def __repr__(self) -> str:
        return f'<Config of {self.path}>'

    async def __aenter__(self) -> 'Config':
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the queue objects that were made of it, those of handlers too, and their client; those of apps are the
        apps' own."""
        made, self._made = self._made, []
        for queue in made:
            await queue.aclose()
        clients, self._client, self._clients = [self._client, *self._clients], None, []
        for client in clients:
            if client is not None:
                await close_client(client)

    def make_queue(self, name: str, client: Any = None) -> TorrelqueQueue:
        """The object of a queue, with what the file says of it."""
        said = self.sections.queues.get(name, QueueConfig())
        more: dict[str, Any] = {} if said.serialiser is None else {'serialiser': import_target(said.serialiser)}
        queue: TorrelqueQueue
        if said.servers is not None:
            servers = [*map(make_client, said.servers)]
            self._clients += servers
            queue = Sharded(servers, queue=name, max_tasks=said.max_tasks, shards=said.shards, **more)
        else:
            if client is None:
                client = self._client = self._client or make_client(self.url)
            options = {'queue': name, 'max_tasks': said.max_tasks, **more}
            queue = Torrelque(client, **options) if said.shards is None else Sharded(
                client, shards=said.shards, **options
            )
        queue.task_timeout, queue.result_ttl = said.task_timeout, said.result_ttl
        self._made.append(queue)
        return queue

    def beside(self, path: str) -> str:
        """A path that the file names, which is relative to its folder."""
        return os.path.join(os.path.dirname(os.path.abspath(self.path)), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> 'Config':
        """Read a file.

        :param path: the file; by default the one of ``TORRELQUE_CONFIG``, else ``torrelque.toml`` of the current
            directory, else the table ``[tool.torrelque]`` of its ``pyproject.toml``.
        :raises ConfigError: there is none, or something in it cannot be meant: all of that is told at once.
        """
        return cls._read(path, None)

    @classmethod
    def load_part(cls, path: str | os.PathLike[str] | None, sections: Iterable[str]) -> 'Config':
        """Read a file for some of its sections: what is wrong with the others is passed over, and left out.

        :raises ConfigError: as `load`.
        """
        return cls._read(path, {*sections})

    @classmethod
    def _read(cls, path: str | os.PathLike[str] | None, wanted: set[str] | None) -> 'Config':
        place = find(path)
        if place is None:
            raise ConfigError([Problem('torrelque.toml', None, '', 'there is no such file, and none is named')])
        source = read(place)
        filled = Filled(source.data, os.environ)
        reading = Reading(filled)
        problems = [
            (keys, filled.unfilled(text, keys)) for keys, text in (*reading.problems, *find_problems(reading, wanted))
            if wanted is None or not keys or keys[0] in wanted
        ]  # fmt: skip
        if problems:
            raise ConfigError(_placed(source, problems))
        return cls(place, reading, filled.raw)


def _placed(source: Source, problems: Iterable[tuple[Keys, str]]) -> list[Problem]:
    """Problems with their lines, in the order of these."""
    found = [
        Problem(source.place.path, line_of(source.lines, keys), dotted((*source.place.table, *keys)), hidden(text))
        for keys, text in problems
    ]
    return sorted(found, key=lambda one: (one.line or 0, one.key))


class ConfiguredQueue:
    """A queue of a file."""

    def __init__(self, config: Config, name: str) -> None:
        self.name = name
        self.section = config.sections.queues.get(name, QueueConfig())
        self._config = config

    def __repr__(self) -> str:
        return f'<ConfiguredQueue {self.name!r}>'

    def make(self, client: Any = None) -> TorrelqueQueue:
        """A queue object: a `torrelque.Torrelque` or, where the file says that it has ``shards`` or ``servers``, a
        `torrelque.sharded.Sharded`.

        :param client: the client to use; by default that of the file.  One of several servers has clients of its own.
        :raises TorrelqueError: the serialiser cannot be imported.
        """
        return self._config.make_queue(self.name, client)


class ConfiguredWorker:
    """A worker of a file."""

    def __init__(self, config: Config, name: str) -> None:
        self.name = name
        self.section: WorkerConfig = config.sections.workers[name]
        self._config = config

    def __repr__(self) -> str:
        return f'<ConfiguredWorker {self.name!r}>'

    @property
    def given(self) -> frozenset[str]:
        """The keys that its section has."""
        place: Keys = ('workers', self.name)
        return frozenset(keys[2] for keys in self._config.given if len(keys) == 3 and keys[:2] == place)

    def arguments(self) -> dict[str, Any]:
        """What of its section are arguments of `torrelque.worker.Worker`, as these."""
        said, given = self.section, self.given
        plain = ('concurrency', 'max_attempts', 'timeout', 'rate', 'run_in', 'result_ttl', 'shutdown_timeout')
        found = {key: getattr(said, key) for key in plain if key in given}
        if 'retry' in given:
            found['retry'] = backoff_of(said.retry)
        if said.breaker is not None:
            found['breaker'] = breaker_of(said.breaker)
        return found | {'heartbeat': said.heartbeat or None, 'name': self.make_name()}

    def make_name(self) -> str:
        """A name for a worker: unique, and beginning with that of the section."""
        return f'{self.name}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}'

    def make(self, client: Any = None) -> 'Worker':
        """The worker, with its application imported; ``run`` runs it.  It is one process, whatever ``processes`` says.

        :param client: of the queues of a handler, by default that of the file; those of an app have the app's own.
        :raises TorrelqueError: its application cannot be imported, or is nothing that a worker can serve.
        """
        from torrelque.tasks import Tasks
        from torrelque.worker import Worker

        said = self.section
        for module in said.imports:
            import_target(module)
        if said.handler is not None:
            make = functools.partial(self._config.make_queue, client=client)
            objects = {name: make(name) for name in said.queues or ()}
            own: Any = [*objects.values()]
            if isinstance(said.queues, dict):
                own = {objects[name]: weight for name, weight in said.queues.items()}
            steal = [make(name) for name in said.steal]
            return Worker(own, import_target(said.handler), steal=steal, **self.arguments())
        made = [_app_of(target) for target in (said.app or '').split(',')]
        if said.queues is None and not said.steal:
            return Worker(made[0] if len(made) == 1 else made, **self.arguments())
        [app] = made if len(made) == 1 else [None]
        if not isinstance(app, Tasks):
            raise TorrelqueError(f'workers.{self.name}: queues and steal are for one app alone, a Tasks')
        return Worker(app.serving(said.queues, said.steal), **self.arguments())


def import_target(target: str) -> Any:
    """What is at ``module:name``; without a name, the module.

    :raises TorrelqueError: there is nothing; an error of the module itself is its cause.
    """
    module, _, path = target.partition(':')
    try:
        found = importlib.import_module(module)
        for name in filter(None, path.split('.')):
            found = getattr(found, name)
    except (ImportError, AttributeError) as exc:
        raise TorrelqueError(f'{target} cannot be imported: {exc}') from exc
    return found


def _app_of(target: str) -> 'App':
    """An app, or what a function without arguments makes."""
    found = import_target(target.strip())
    made: Any = found if hasattr(found, 'prepare') or not callable(found) else found()
    if not callable(getattr(made, 'prepare', None)):
        raise TorrelqueError(f'{target} is no app: {type(made).__name__}')
    app: App = made
    return app

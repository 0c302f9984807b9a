"""What commands take of a file of settings: the server, the queues, the workers."""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .alertfile import Watched, watched_in
from .failure import Exit, Failure
from .options import Filed, RunOptions
from .server import VARIABLES

if TYPE_CHECKING:
    from torrelque import TorrelqueQueue
    from torrelque.config import Config, ConfiguredWorker

T = TypeVar('T')

PLAIN = ('concurrency', 'shutdown_timeout', 'heartbeat')
"""Keys of a worker that are options of ``run`` as well."""
OF_ONE = ('concurrency', 'queues', 'steal', 'processes', 'name')
"""Options of ``run`` that are of one worker."""


def load(path: str | None) -> 'Config':
    """A file, all of which is well.

    :raises Failure: there is none, or something is wrong with it.
    """
    from torrelque.config import Config

    return _told(lambda: Config.load(path))


def file_of(found: argparse.Namespace, *sections: str) -> 'Config | None':
    """The file of a command; None where there is none.

    :param sections: those that are needed beside server, unless another one is named, and queues.  What is wrong with
        others is told by commands that need them.
    :raises Failure: something is wrong with what is needed of it, or it was named, and is not there.
    """
    from torrelque.config.finding import find

    if find(found.config) is None:
        return None
    from torrelque.config import Config

    named = found.url is not None or _is_named_by_environment()
    needed = ('queues', *sections, *(() if named else ('server',)))
    kept: dict[tuple[str, ...], Config] = vars(found).setdefault('files', {})
    if needed not in kept:
        kept[needed] = _told(lambda: Config.load_part(found.config, needed))
    return kept[needed]


def read_watched(found: argparse.Namespace) -> Watched:
    """What the file of a command says of alerts; nothing where there is none.

    :raises Failure: something of it cannot be meant.
    """
    file = file_of(found, 'alerts', 'sinks')
    return Watched() if file is None else watched_in(file)


def declares(found: argparse.Namespace, queue: str) -> bool:
    """Whether the file has a queue of a name, so that it is no slip of the pen."""
    file = file_of(found)
    return file is not None and queue in file.queues


def url_of(found: argparse.Namespace) -> str | None:
    """The server of the file, where the environment names none."""
    if _is_named_by_environment():
        return None
    file = file_of(found)
    return None if file is None else file.sections.server.url


def _is_named_by_environment() -> bool:
    return any(os.environ.get(name) for name in VARIABLES)


def _told(read: Callable[[], T]) -> T:
    from torrelque.config import ConfigError

    try:
        return read()
    except ConfigError as exc:
        raise failure_of(exc) from None


def failure_of(error: Any, code: int = Exit.USAGE) -> Failure:
    """How a command ends by what is wrong with a file."""
    if len(error.problems) == 1:
        return Failure(str(error), code)
    file = error.problems[0].file
    return Failure(f'{file} has {len(error.problems)} problems', code, lines=[*map(str, error.problems)])


# Workers


def read_workers(found: argparse.Namespace, options: RunOptions) -> list[RunOptions]:
    """What each worker of a file is told, by the file and, of one, by the command line.

    :raises Failure: there is none, or what is said cannot be meant.
    """
    from torrelque.config.finding import NAME, find

    if find(options.config) is None:
        raise Failure(f'there is nothing to run: name a TARGET, such as shop.tasks:app, or a file, -c {NAME}')
    if options.url is not None or options.queue:
        raise Failure('-q and --url are for a TARGET; the workers of a file have the queues and the server of that')
    config = load(options.config)
    chosen = [*config.workers.values()]
    if options.only is not None:
        chosen = [worker for worker in chosen if worker.name == options.only]
    if not chosen:
        has = f'it has {", ".join(config.workers)}' if config.workers else 'there is no [workers.NAME]'
        what = 'workers' if options.only is None else f'worker {options.only!r}'
        raise Failure(f'{config.path} has no {what}: {has}')
    given = [name for name in OF_ONE if getattr(found, name)]
    if given and len(chosen) > 1:
        raise Failure(f'--{given[0]} is of one worker, and {config.path} has {len(chosen)}: name it with --only')
    return [_told_by(config, worker, found, options) for worker in chosen]


def _told_by(
    config: 'Config', worker: 'ConfiguredWorker', found: argparse.Namespace, options: RunOptions
) -> RunOptions:
    said = worker.section
    arguments = worker.arguments()
    for name in PLAIN:
        arguments.pop(name, None)
    handled = said.handler is not None
    queues = options.queues or (said.queues if not handled or isinstance(said.queues, dict) else None)
    server, named = config.sections.server, _is_named_by_environment()
    embedded = None if named or server.embedded is None else config.beside(server.embedded)
    filed = Filed(
        config.path, worker.name, None if named else server.url, arguments,
        lambda client, name: config.queues[name].make(client), lambda: watched_in(config), embedded,
    )  # fmt: skip
    return dataclasses.replace(
        options,
        target=said.handler or said.app or '',
        queue=tuple(said.queues or ()) if handled else (),
        queues=queues,
        steal=options.steal or said.steal,
        processes=found.processes or said.processes,
        imports=[*said.imports, *options.imports],
        uvloop=options.uvloop or said.uvloop,
        filed=filed,
        **{name: getattr(said, name) for name in PLAIN if name in worker.given and getattr(options, name) is None},
        **_health(config, options),
    )


def _health(config: 'Config', options: RunOptions) -> dict[str, Any]:
    """What ``[health]`` says, for the options of these names, where the command line says nothing."""
    said = config.sections.health
    has: dict[str, Any] = {'health': said.bind, 'health_file': said.file}
    has |= {name: getattr(said, name) for name in ('stall', 'metrics') if ('health', name) in config.given}
    return {name: value for name, value in has.items() if value is not None and getattr(options, name, value) is None}


# Queues


def names_of(found: argparse.Namespace) -> 'Sequence[str] | None':
    """The queues that the file names, where it has others as well, which are those of an app; else None."""
    file = file_of(found)
    if file is None or all(one.section.app is None or one.section.queues for one in file.workers.values()):
        return None
    return [*file.queues]


def servers_of(found: argparse.Namespace, names: Sequence[str]) -> Sequence[str]:
    """The servers of the first queue that a command is about, where each of these has servers of its own."""
    file = file_of(found)
    if file is None:
        return ()
    said = [file.sections.queues.get(name) for name in names or file.queues]
    servers = [one.servers if one is not None else None for one in said]
    return servers[0] or () if servers and all(servers) else ()


def queues_of(found: argparse.Namespace, client: Any, names: Sequence[str], several: bool) -> 'list[TorrelqueQueue]':
    """The objects of queues that a command is about, as the file says; none where there is no file, or no queue in it.

    :param names: those that are named, if any are.
    :param several: whether the command is about all, where none is named.
    :raises Failure: none is named, the file has several, and the command is about one.
    """
    file = file_of(found)
    if file is None:
        return []
    from torrelque import Torrelque, TorrelqueError

    if not names and len(file.queues) > 1 and not several:
        raise Failure(f'name the queue with -q; {file.path} has {", ".join(file.queues)}')
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # where a serialiser may be
    try:
        return [
            file.queues[name].make(client) if name in file.queues else Torrelque(client, queue=name)
            for name in names or file.queues
        ]
    except TorrelqueError as exc:
        raise Failure(f'{file.path}: {exc}', Exit.ILL) from exc

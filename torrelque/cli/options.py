"""What ``torrelque run`` was told, as values of their own types; and how these are written on a command line."""

import argparse
import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from torrelque.config import amounts

T = TypeVar('T')

Names = Sequence[str] | Mapping[str, int]
"""Names of queues, by order or with weights."""

MOST = 1000
"""Processes at the most: a slip of the keyboard must not bring a machine down."""

STALL = 60.0
"""s for which an event loop may stand still, where nothing else is said."""
SHORTEST_STALL = 3.0
"""s that an event loop may stand still, at the least: it tells once a second that it does not."""

BURST = 'end when there is nothing to take (what is delayed, for a retry too, is left)'
"""What a burst is to do."""


@dataclasses.dataclass(frozen=True)
class Filed:
    """What a file of settings says of a worker, and no option of the command line does."""

    path: str
    worker: str
    """The name of the worker."""
    server: str | None
    """The server, where the environment names none."""
    arguments: Mapping[str, Any]
    """Arguments of the worker."""
    make_queue: Callable[[Any, str], Any]
    """Makes the object of a queue, of a client and a name."""
    read_watched: Callable[[], Any]
    """The rules and the sinks that the file has."""
    embedded: str | None = None
    """Where an embedded server keeps its data, which is started with the workers."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """The options of ``torrelque run``, named as they are there.  None is: not given."""

    target: str = ''
    queue: Sequence[str] = ()
    url: str | None = None
    shards: int | None = None
    processes: int = 1
    concurrency: int | None = None
    queues: Names | None = None
    steal: Sequence[str] = ()
    burst: bool = False
    reload: bool = False
    imports: Sequence[str] = ()
    log_level: str = 'info'
    log: str = 'text'
    uvloop: bool = False
    shutdown_timeout: float | None = None
    heartbeat: float | None = None
    name: str | None = None
    health: tuple[str, int] | None = None
    health_file: str | None = None
    metrics: str | None = None
    stall: float | None = None
    child: int | None = None
    """The number of a process that another one supervises, from 1 on."""
    first: bool = False
    """Whether it is the first that may come to serve anything, so that it says what."""
    config: str | None = None
    """The file of settings, where one is named."""
    only: str | None = None
    """The worker of the file that is meant."""
    filed: 'Filed | None' = None
    """What the file says beside; None where there is a target."""

    @property
    def probed(self) -> bool:
        """Whether probes are told how the workers are."""
        return self.health is not None or self.health_file is not None

    @classmethod
    def of(cls, namespace: argparse.Namespace) -> 'RunOptions':
        """The options that a parser has found."""
        names = [field.name for field in dataclasses.fields(cls) if hasattr(namespace, field.name)]
        given = {name: getattr(namespace, name) for name in names}
        return cls(**given | {'target': namespace.target or '', 'processes': namespace.processes or 1})

    @property
    def label(self) -> str:
        """What is served, for people."""
        return self.target if self.filed is None else f'{self.filed.worker} ({self.target})'


def told(read: Callable[[str], T]) -> Callable[[str], T]:
    """What reads the words of an option, by what reads them in a file: argparse shows the sentence of its own error
    alone."""

    @functools.wraps(read)
    def parse(text: str) -> T:
        try:
            return read(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return parse


count = told(amounts.count)
"""A whole number that is at least 1."""
seconds = told(amounts.seconds)
"""A time: ``90``, ``90s``, ``1.5m``, ``2h``, ``1d``."""
address = told(amounts.place)
"""Where to listen: ``127.0.0.1:8765``, ``[::1]:8765``, ``localhost:0``."""


def processes(text: str) -> int:
    """A number of processes that a machine may have."""
    if count(text) > MOST:
        raise argparse.ArgumentTypeError(f'{text} processes are more than {MOST}')
    return int(text)


def stall(text: str) -> float:
    """A time for which an event loop may stand still, longer than it is told of."""
    if seconds(text) < SHORTEST_STALL:
        raise argparse.ArgumentTypeError(f'{text} is too short: {SHORTEST_STALL:g} s at the least')
    return seconds(text)


class Once(argparse.Action):
    """Keeps the value of an option that says all at once, and so comes once."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Keep a value.

        :raises argparse.ArgumentError: there is one already.
        """
        if getattr(namespace, self.dest) is not self.default:
            raise argparse.ArgumentError(self, 'is given twice; name all queues in one, with commas between them')
        setattr(namespace, self.dest, values)


def names(text: str) -> list[str]:
    """Names with commas between them, and maybe white space."""
    found = [name.strip() for name in text.split(',')]
    if not all(found) or len({*found}) < len(found):
        raise argparse.ArgumentTypeError(f'{text!r} is no list of different names, such as mail,news')
    return found


def shares(text: str) -> Names:
    """Names of queues in their order, ``mail,news``, or with weights, ``mail=3,news=1``."""
    found = names(text)
    pairs = [tuple(part.strip() for part in one.rpartition('=')) for one in found]
    weighted = [bool(name) and re.fullmatch(r'0*[1-9]\d{0,8}', weight, re.A) for name, _, weight in pairs]
    if all(weighted) and len({name for name, _, _ in pairs}) == len(pairs):
        return {name: int(weight) for name, _, weight in pairs}
    if any('=' in one for one in found):
        raise argparse.ArgumentTypeError(f'{text!r} gives some a weight and some none, or no number: mail=3,news=1')
    return found


def add_file(parser: Any) -> None:
    """Add the option that names a file of settings, to a parser or to a group of one."""
    parser.add_argument('-c', '--config', metavar='FILE',
        help='a file of settings; else that of TORRELQUE_CONFIG, else torrelque.toml, or [tool.torrelque] of '
        'pyproject.toml, of the current directory')  # fmt: skip

"""What ``torrelque run`` was told, as values of their own types; and how these are written on a command line."""

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

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

_ADDRESS = re.compile(r'(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/@]+)):([0-9]{1,5})')
_UNITS = {'': 1, 's': 1, 'm': 60, 'h': 3600, 'd': 86400}
_DURATION = re.compile(r'(\d+(?:\.\d+)?)\s*([smhd]?)')


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """The options of ``torrelque run``, named as they are there.  None is: not given."""

    target: str
    queue: Sequence[str] = ()
    url: str | None = None
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
    stall: float | None = None
    child: int | None = None
    """The number of a process that another one supervises, from 1 on."""
    first: bool = False
    """Whether it is the first that may come to serve anything, so that it says what."""

    @property
    def probed(self) -> bool:
        """Whether probes are told how the workers are."""
        return self.health is not None or self.health_file is not None

    @classmethod
    def of(cls, namespace: argparse.Namespace) -> 'RunOptions':
        """The options that a parser has found."""
        return cls(**{field.name: getattr(namespace, field.name) for field in dataclasses.fields(cls)})


def count(text: str) -> int:
    """A whole number that is at least 1."""
    if not re.fullmatch(r'0*[1-9]\d{0,8}', text, re.A):
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 1 on')
    return int(text)


def processes(text: str) -> int:
    """A number of processes that a machine may have."""
    if count(text) > MOST:
        raise argparse.ArgumentTypeError(f'{text} processes are more than {MOST}')
    return int(text)


def seconds(text: str) -> float:
    """A time: ``90``, ``90s``, ``1.5m``, ``2h``, ``1d``."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no time, such as 90, 90s, 5m or 2h')
    return float(match[1]) * _UNITS[match[2]]


def stall(text: str) -> float:
    """A time for which an event loop may stand still, longer than it is told of."""
    if seconds(text) < SHORTEST_STALL:
        raise argparse.ArgumentTypeError(f'{text} is too short: {SHORTEST_STALL:g} s at the least')
    return seconds(text)


def address(text: str) -> tuple[str, int]:
    """Where to listen: ``127.0.0.1:8765``, ``[::1]:8765``, ``localhost:0``."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match[3]) > 65535:
        raise argparse.ArgumentTypeError(f'{text!r} is no address, such as 127.0.0.1:8765 or [::1]:8765')
    return match[1] or match[2], int(match[3])


def own_address(text: str) -> tuple[str, int]:
    """Where to listen, with ``:8080`` for all addresses of this machine."""
    return address(f'0.0.0.0{text}' if text.startswith(':') else text)


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

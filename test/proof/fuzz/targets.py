"""The targets, by name; how a corpus is kept; and the replay of one, which needs no atheris.

A corpus is one text file for each target, with an input a line,
in base64: hundreds of files of some ten bytes would take
a block each, bury others in a list of changes, and be packed into each release one by one.  What a merge leaves is in
``corpus/TARGET.txt``; what had found a fault is in ``corpus/found.txt``, behind its target, which no merge drops.
"""

from __future__ import annotations

import base64
import importlib
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from proof.fuzz.feed import Feed

Target = Callable[[Feed], None]

CORPUS = Path(__file__).parent / 'corpus'
FOUND = CORPUS / 'found.txt'
COUNTED = ('torrelque', 'cronsim')
"""Packages whose steps are counted."""


class Kind(NamedTuple):
    """Where a target is, and what it may take."""

    module: str
    steps: int
    """Lines of ours that one input has carried out at the most: what is bounded by steps is so on any machine."""
    longest: int = 512
    """Bytes of an input."""


TARGETS = {
    'replies': Kind('target_replies', 5_000),
    'verbs': Kind('target_replies', 10_000, 2048),
    'states': Kind('target_states', 10_000, 1024),
    'beats': Kind('target_states', 10_000),
    'history': Kind('target_states', 20_000),
    'hashes': Kind('target_states', 10_000),
    'payloads': Kind('target_payloads', 10_000),
    'envelopes': Kind('target_payloads', 2_000),
    'settings': Kind('target_settings', 50_000, 1024),
    'selections': Kind('target_selections', 10_000),
    'filters': Kind('target_selections', 10_000),
    'calendars': Kind('target_calendars', 1_000_000, 256),
    'zones': Kind('target_calendars', 20_000, 256),
    'times': Kind('target_words', 5_000, 256),
    'checks': Kind('target_words', 2_000, 256),
    'ids': Kind('target_words', 3_000, 256),
    'maps': Kind('target_words', 10_000),
}  # fmt: skip
"""What is fuzzed.  A new one is a function of a `Feed` in a module, and a row here."""


def find(name: str) -> Target:
    """The function of a target."""
    target: Target = getattr(importlib.import_module(f'proof.fuzz.{TARGETS[name].module}'), name)
    return target


# Corpora


def pack(inputs: Iterable[bytes]) -> str:
    """A corpus as its file has it: the shortest first."""
    some = sorted({*inputs}, key=lambda data: (len(data), data))
    return ''.join(f'{base64.b64encode(data).decode()}\n' for data in some)


def unpack(text: str) -> list[bytes]:
    """The inputs of such a file."""
    return [base64.b64decode(line, validate=True) for line in text.splitlines()]


def found_before() -> list[tuple[str, bytes, str]]:
    """Inputs that had found a fault: the target, the bytes, and what it was."""
    lines = FOUND.read_text('utf-8').splitlines() if FOUND.exists() else []
    parts = [line.split(' ', 2) for line in lines]
    return [(name, base64.b64decode(data, validate=True), what) for name, data, what in parts]


def kept(name: str) -> list[bytes]:
    """All inputs of a target that are in the repository."""
    path = CORPUS / f'{name}.txt'
    inputs = unpack(path.read_text('ascii')) if path.exists() else []
    return inputs + [data for target, data, _ in found_before() if target == name]


# Replay


class TooLongError(AssertionError):
    """An input took more steps than one may."""


@contextmanager
def counted(most: int) -> Iterator[list[int]]:
    """Count the lines of ours that are carried out, and end what takes more of them than it may."""
    steps = [0]
    roots = tuple(str(Path(module.__file__ or '').parent) for module in map(importlib.import_module, COUNTED))

    def step(frame: types.FrameType, event: str, _: Any) -> Any:
        steps[0] += 1
        if steps[0] > most:
            raise TooLongError(f'more than {most} steps')
        return step

    def enter(frame: types.FrameType, event: str, _: Any) -> Any:
        return step if frame.f_code.co_filename.startswith(roots) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield steps
    finally:
        sys.settrace(before)


def replay(name: str, inputs: Iterable[bytes]) -> int:
    """Run a target on inputs; how many steps the longest has taken.  A fault comes with the input."""
    target, kind, longest = find(name), TARGETS[name], 0
    target(Feed(b''))  # what is imported and cached with the first
    for data in inputs:
        try:
            with counted(kind.steps) as steps:
                target(Feed(data))
        except BaseException as exc:
            exc.args = (f'{name} {base64.b64encode(data).decode()}: {exc}',)
            raise
        longest = max(longest, steps[0])
    return longest

"""Errors that are alike: what is the same in them, by a fingerprint, and how often each came.

A fingerprint is made of an error's text alone, by whoever reads it.  So it is the same in all processes and releases,
nothing is kept for it in the server, and it costs a task nothing.
"""

import asyncio
import contextlib
import functools
import hashlib
import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NamedTuple

from torrelque import TorrelqueQueue, TorrelqueSerialiser

from . import asking, normalising
from .values import ErrorGroup, Errors

CALL = 36
"""Tasks of one call at the most."""
CALL_BYTES = 2_000_000
"""Bytes of errors of one call, about, at the most."""
TURN = 25
"""Errors after which others of the event loop have their turn, among them the next call."""
WHOLE, BEGIN, END = 32768, 2048, 16384
"""Bytes: of a longer error its beginning and its end are looked at; as in the script."""
NAMES = 10
"""Functions, groups and ids that are told of a group of errors."""
COUNTED = 100
"""Functions, and groups, of which it is told how many cases they have."""
TOLD = 8000
"""Characters of that in which an exception is told that are looked at: its message, its notes."""
MEMBERS = 20
"""Members of an exception group that are looked at."""

_HEAD = 'Traceback (most recent call last):'
_CHAINS = (
    '\nThe above exception was the direct cause of the following exception:\n',
    '\nDuring handling of the above exception, another exception occurred:\n',
)
_TOLD = re.compile(r'\n(?=[^\s…])')
_FILE = '  File "'
_CLASS = re.compile(r'([^\W\d][\w.<>]*)(?:: ?|$)')
_LIKE_A_CLASS = re.compile(
    r'(?:.*\.)?(?:[A-Z]\w*)?(?:Error|Exception|Warning|Interrupt|Exit|Group|Iteration|Timeout|Failure|Reject)\Z'
)
"""The name of an exception, where no traceback says that it is one."""
_NAMELESS = ('__main__.', '__mp_main__.', 'builtins.')
_GROUP = 'Exception Group ' + _HEAD
_MEMBER = '+---------------- '
"""What stands above each member of a group."""
_ART = re.compile(r' *[|+] ?(?:-\+-+ \d+ -+|-+ \d+ -+|-{10,})?')
"""The lines that are drawn around a group and its members."""
_COUNT = re.compile(r' \((?:N|\d+) sub-exceptions?\)\Z')
_TASK = re.compile(rb'\s*\{\s*"task"\s*:\s*"((?:[^"\\]|\\.){1,400})"')


class Fault(NamedTuple):
    """What is the same in errors that are alike."""

    fingerprint: str
    """Eight hexadecimal digits."""
    what: str
    """The class of the exception, as the traceback names it; the first line of what is no traceback."""
    where: str
    """File and function of the innermost frame that is neither of the standard library nor of an installed package."""
    message: str
    """The message, with what differs from one to the other left out."""


# What an error is a case of


def find_fault(error: str) -> Fault:
    """What an error is a case of: the same for all that differ in numbers, quoted texts, ids and addresses only.

    Of a traceback the last exception counts; of an exception group, its members as well.  The numbers of lines do not,
    nor does the folder of a file, so that a release does not split what is alike.  Anything goes that is a text, of any
    length.
    """
    return _find_fault(shorten(error))


@functools.lru_cache(500)
def _find_fault(text: str) -> Fault:
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    chain = max(text.rfind(chain) for chain in _CHAINS)
    if max(text.rfind(_MEMBER), text.rfind(_GROUP)) > chain:
        what, where, message = _of_group(text)
    elif _HEAD in text or text.startswith('…') and _FILE in text:
        what, where, message = _of_traceback(text)
    else:
        what, where, message = _of_line(text)
    digest = hashlib.sha256('\0'.join((what, where, message)).encode('utf-8', 'backslashreplace'))
    return Fault(digest.hexdigest()[:8], what, where, message)


def shorten(error: str) -> str:
    """An error, or its beginning and its end where it is long: cut at characters, as the script does it."""
    if len(error) * 4 <= WHOLE:
        return error
    try:
        data = error.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError:
        data = error.encode('utf-8', 'backslashreplace')
    if len(data) <= WHOLE:
        return error
    head, tail = BEGIN, len(data) - END
    while head > BEGIN - 3 and 128 <= data[head] < 192:
        head -= 1
    while tail < len(data) - END + 3 and 128 <= data[tail] < 192:
        tail += 1
    return (data[:head] + '\n…'.encode() + data[tail:]).decode('utf-8', 'surrogateescape')


def _of_line(text: str) -> tuple[str, str, str]:
    """Of what is no traceback: an exception that its first line names, or that line."""
    lines = text.strip().split('\n')
    if not lines[0]:
        return 'no error', '', ''
    what, message = _split(lines)
    if _LIKE_A_CLASS.match(what):
        return what, '', message
    return normalising.normalise(lines[0]), '', ''


def _of_traceback(text: str) -> tuple[str, str, str]:
    """Of a traceback: class and message of the last exception, and where it came from.

    An exception that was not raised in any frame has no heading; then its message follows what joins it to its cause.
    """
    start = max(text.rfind(chain) + len(chain) if chain in text else 0 for chain in _CHAINS)
    head = text.rfind(_HEAD, start)
    stop = max(head, start)
    if head >= 0 or not start:
        # Behind the frames comes the first line that is not indented.
        found = _TOLD.search(text, stop)
        stop = len(text) if found is None else found.end()
    what, message = _split(text[stop : stop + TOLD].strip('\n').split('\n'))
    return what, _where(text[:stop]), message


def _of_group(text: str) -> tuple[str, str, str]:
    """Of an exception group: its own class and message, with those of its members, each kind once.

    The worker closes such a text with a line that names the group and its members; others do not.
    """
    plain: list[str] = []
    parts: list[list[str]] = []
    for line in text.split('\n'):
        art = _ART.match(line)
        content = line if art is None else line[art.end() :]
        if content.rstrip().endswith(_HEAD) or art is not None and _MEMBER in art[0]:
            parts.append([])
        elif art is None:
            plain.append(line)
        elif parts:
            parts[-1].append(content)
    found = [_split(rest) for rest in map(_behind_frames, parts) if rest]
    kinds = list(dict.fromkeys((what, _COUNT.sub('', message)) for what, message in found))
    closing = next((line for line in reversed(plain) if line.strip()), '')
    if _CLASS.match(closing):
        what, message = _split_group(closing)
    else:
        what, message = kinds[0] if kinds else ('ExceptionGroup', '')
        message = '; '.join([message, *sorted(': '.join(filter(None, kind)) for kind in kinds[1:])])
    place = next(filter(None, (_where('\n'.join(part)) for part in parts)), '')
    return what, place, normalising.bound(message)


def _behind_frames(lines: Sequence[str]) -> Sequence[str]:
    """The lines in which an exception is told, of those behind the heading of a traceback."""
    return lines[next((n for n, line in enumerate(lines) if line[:1].strip()), len(lines)) :]


def _split_group(line: str) -> tuple[str, str]:
    """The worker's closing line: ``Group: message (2 sub-exceptions): One: message; Two: message``."""
    what, _, rest = line.partition(': ')
    message, end, members = rest.partition('): ')
    kinds = sorted({normalising.normalise(member) for member in members.split('; ')[:MEMBERS]} - {''})
    message = _COUNT.sub('', normalising.normalise(message + end.rstrip(': ')))
    return _class_name(what), '; '.join([message, *kinds])


def _split(lines: Sequence[str]) -> tuple[str, str]:
    """Class and message, in short, of the lines in which an exception is told."""
    first = next((line for line in lines if line.strip()), '').strip()
    match = _CLASS.match(first)
    if match is None:
        return normalising.normalise(first) or 'no error', ''
    message = first[match.end() :]
    behind = lines[1:]
    if not message.strip():
        message = next((line for line in behind if line.strip()), '')
    return _class_name(match[1]), normalising.normalise(message, behind)


def _class_name(name: str) -> str:
    for prefix in _NAMELESS:
        name = name.removeprefix(prefix)
    return name.rpartition('<locals>.')[2][:200]


# Where it came from


class _Frame(NamedTuple):
    file: str
    function: str


def _where(text: str) -> str:
    """The innermost frame of the application itself: of the frames of a text, the last one."""
    end = len(text)
    while (at := text.rfind(_FILE, 0, end)) >= 0:
        end = at
        frame = _frame_of(text[at : text.find('\n', at) + 1 or None])
        if frame is not None and normalising.is_own(frame.file):
            return f'{normalising.base_name(frame.file)}:{frame.function}'[:300]
    return ''


def _frame_of(line: str) -> _Frame | None:
    line = line.strip()
    end = line.rfind('", line ')
    number, _, function = line[end + 8 :].partition(', in ')
    if end < 6 or not function or not number.isdecimal():
        return None
    return _Frame(line[6:end], function)


# What failed


class _Case(NamedTuple):
    """A task that failed."""

    id: str
    dead: bool
    time: float
    error: str
    attempts: int
    group: str | None
    function: str | None


async def read_errors(queue: TorrelqueQueue, most: int) -> Errors:
    """The errors of the newest so many dead tasks, and of as many delayed ones, those first that are due first.

    They are read in calls of 50, each of which is a moment of its own: a task that dies meanwhile may be missing, and
    none is counted twice.
    """
    seen_ids: set[str] = set()
    alike: dict[Fault, list[_Case]] = {}
    counts: dict[str, tuple[int, int]] = {}
    times: list[float] = []
    for place in ('dead', 'delayed'):
        seen = total = 0
        async with contextlib.aclosing(_read(queue, place, most)) as replies:
            async for reply in replies:
                total, looked, now, *rows = reply
                seen += looked
                times.append(now / 1000)
                for number, row in enumerate(rows):
                    if number % TURN == 0:
                        await asyncio.sleep(0)
                    case = _case_of(queue.serialiser, place == 'dead', row)
                    if case.id not in seen_ids:
                        seen_ids.add(case.id)
                        alike.setdefault(find_fault(case.error), []).append(case)
        counts[place] = min(seen, total), total
    groups = [_error_group(fault, cases) for fault, cases in alike.items()]
    groups.sort(key=lambda group: (-group.count, -group.last, group.fingerprint))
    return Errors(queue.name, min(times), tuple(groups), *counts['dead'], *counts['delayed'])


async def _read(queue: TorrelqueQueue, place: str, most: int) -> AsyncGenerator[Any, None]:
    """Replies of the script, up to so many tasks of a place.  While one is worked on, the server makes the next."""

    def ask(skip: int) -> asyncio.Future[Any]:
        return asyncio.ensure_future(
            asking.ask(queue, 'faults', place, skip, min(CALL, most - skip), CALL_BYTES)
        )

    skip, call = 0, ask(0)
    try:
        while True:
            reply = await call
            total, looked = reply[:2]
            skip += looked
            is_last = not looked or skip >= min(most, total)
            if not is_last:
                call = ask(skip)
            yield reply
            if is_last:
                return
    finally:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


def _case_of(serialiser: TorrelqueSerialiser, dead: bool, row: Sequence[bytes]) -> _Case:
    task_id, score, error, attempts, started, history, group, payload = row
    time = _number(score) / 1000
    if not dead:
        # The score of a delayed task is when it is due.  It failed when the last of its attempts ended.
        words = history.split(b' ', 3)
        ended = _number(words[2]) if len(words) > 3 and words[0] == attempts else 0
        time = (ended or _number(started)) / 1000 or time
    return _Case(
        _text(task_id),
        dead,
        time,
        _text(error),
        int(_number(attempts)),
        _text(group) or None,
        function_of(serialiser, payload),
    )


def function_of(serialiser: TorrelqueSerialiser, payload: bytes) -> str | None:
    """The name of the function of a call, by a payload or by what it begins with; None where it is none."""
    try:
        value = serialiser.loads(payload) if payload else None
        name = value.get('task') if isinstance(value, dict) else None
        return name if isinstance(name, str) else None
    except Exception:
        match = _TASK.match(payload)
    if match is None:
        return None
    with contextlib.suppress(ValueError):
        name = serialiser.loads(b'"' + match[1] + b'"')
        return name if isinstance(name, str) else None
    return None


def _text(word: bytes) -> str:
    return word.decode('utf-8', 'surrogateescape')


def _number(word: bytes) -> float:
    with contextlib.suppress(ValueError):
        number = float(word)
        return number if abs(number) < 1e15 else 0.0
    return 0.0


def _error_group(fault: Fault, cases: list[_Case]) -> ErrorGroup:
    cases.sort(key=lambda case: -case.time)
    functions = Counter(case.function for case in cases).most_common()
    groups = Counter(case.group for case in cases).most_common()
    return ErrorGroup(
        fingerprint=fault.fingerprint,
        count=len(cases),
        dead=sum(case.dead for case in cases),
        what=fault.what,
        where=fault.where,
        message=fault.message,
        first=cases[-1].time,
        last=cases[0].time,
        functions=tuple(name for name, _ in functions if name is not None)[:NAMES],
        groups=tuple(name for name, _ in groups if name is not None)[:NAMES],
        attempts=(min(case.attempts for case in cases), max(case.attempts for case in cases)),
        sample=cases[0].error,
        ids=tuple(case.id for case in cases[:NAMES]),
        by_function=tuple(functions[:COUNTED]),
        by_group=tuple(groups[:COUNTED]),
    )

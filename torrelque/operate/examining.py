"""Whether a queue and its server are sound: settings, versions, clocks, and the queue's keys, by bounded scans."""

import shlex
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

from torrelque import TorrelqueQueue, TorrelqueServerError
from torrelque.worker.version import version

from . import crew, scheduled, standing
from .asking import ask, read
from .limits import are_spoilt
from .overview import Figures, read_figures
from .reading import instant_of, text_of
from .server import REFUSED, Note, look_at_server
from .values import Finding, WorkerView

LEVELS = ('error', 'warning', 'note', 'ok')
TYPES = {
    **dict.fromkeys(('pending', 'turns', 'bell', 'acts', 'spread'), 'list'),
    **dict.fromkeys(('priority', 'working', 'delayed', 'dead', 'waiting'), 'zset'),
    **dict.fromkeys(('untold', 'rated', 'workers', 'schedules', 'away', 'outbox'), 'zset'),
    **dict.fromkeys(('tasks', 'groups', 'heads', 'holders', 'later', 'limits', 'probes', 'totals', 'guests'), 'hash'),
    **dict.fromkeys(('paused', 'holes'), 'set'),
    'seq': 'string',
}
"""What each key of a queue holds."""
SAMPLE = 100
"""Ids of each place that are looked at from each end."""
LATE = 60.0
"""s after which what is due counts as forgotten: sweeps come each 30 s."""
LIMITS = 1000
"""Groups, about, whose limits are looked at."""
LARGE = 1_000_000
"""Bytes of a payload that is told of."""
_MEND = {
    'pending': 'the next claim puts it among the dead, or reports it',
    'turns': 'the next claim puts it among the dead, or reports it',
    'priority': 'the next claim puts it among the dead, or reports it',
    'working': 'when its lease ends, a sweep puts it among the dead, or reports it: torrelque sweep',
    'delayed': 'when it is due, a sweep puts it among the dead, or reports it: torrelque sweep',
    'dead': 'torrelque redrive {id}',
    'waiting': 'when its turn comes it ends as failed, or torrelque cancel {id}',
}


async def examine(queue: TorrelqueQueue) -> list[Finding]:
    """What was found, the gravest first."""
    notes = await look_at_server(queue)
    try:
        figures = await read_figures(queue)
    except TorrelqueServerError as exc:
        notes.append(Note('error', 'queue', f'{REFUSED} at the queue: {exc}', 'have the user +@read of its keys'))
    else:
        for look in (_types, _places, _books, _holders, _limits, _due, _flows, _schedules, _hearts):
            try:
                notes += [note async for note in look(queue, figures)]
            except TorrelqueServerError as exc:
                notes.append(Note('note', look.__name__.strip('_'), f'{REFUSED}: {exc}'))
    if not any(note.level in ('error', 'warning') for note in notes):
        notes.append(Note('ok', 'queue', 'nothing is wrong with it, as far as was looked'))
    notes.sort(key=lambda note: LEVELS.index(note.level))
    return [Finding(queue.name, *note[:3], _with_queue(note.advice, queue)) for note in notes]


def _with_queue(advice: str | None, queue: TorrelqueQueue) -> str | None:
    """Advice whose command names the queue, as some does already."""
    if advice is None or 'torrelque ' not in advice or ' -q' in advice:
        return advice
    return f'{advice} -q {shlex.quote(queue.name)}'


def _shown(names: Sequence[str], count: int | None = None) -> str:
    more = (len(names) if count is None else count) - len(names[:3])
    rest = f' and {more} more' if more > 0 else ''
    return ', '.join(map(repr, names[:3])) + rest


# Keys


def _kind(kind: str) -> str:
    return 'sorted set' if kind == 'zset' else kind


async def _types(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    words = await ask(queue, 'types', *(word for pair in TYPES.items() for word in pair))
    for name, kind in zip(words[::2], words[1::2], strict=True):
        short = text_of(name)
        yield Note(
            'error', 'keys', f'the key {short!r} holds a {_kind(text_of(kind))}, and not a {_kind(TYPES[short])}',
            f'redis-cli RENAME {shlex.quote(queue.keys[short])} to another name, and look at what it holds',
        )  # fmt: skip


async def _places(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    longest, whose = 0, b''
    for place in ('pending', 'turns', 'priority', 'working', 'delayed', 'dead', 'waiting'):
        count, length, task_id, *words = await ask(queue, 'sample', place, SAMPLE)
        longest, whose = max((longest, whose), (length, task_id))
        kinds = Counter(words[::2])
        for kind, times in kinds.items():
            ids = [text_of(one) for what, one in zip(words[::2], words[1::2], strict=True) if what == kind]
            advice = _MEND[place].format(id=shlex.quote(ids[0]))
            yield Note(
                'warning', place, f'of {times} of {count} ids that were looked at: {text_of(kind)} ({_shown(ids)})',
                advice,
            )  # fmt: skip
    if longest >= LARGE:
        yield Note(
            'note', 'payloads', f'the payload of {text_of(whose)!r} has {longest} bytes',
            'keep large data elsewhere, and enqueue where it is',
        )  # fmt: skip


async def _books(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    counted, rest, found, compared, *words = await ask(queue, 'books', 250, 1000)
    if counted and found < rest:
        yield Note(
            'error', 'pending', f'{rest - found} tasks are in no place: nobody will ever take them',
            f'a key was lost; their payloads are there: redis-cli HSCAN {shlex.quote(queue.keys["tasks"])} 0',
        )  # fmt: skip
    elif counted and found > rest:
        text = f'{found - rest} ids wait that have no payload'
        yield Note('warning', 'pending', text, 'claims take them out, and report them')
    if not compared:
        return
    for name, slots, held in zip(words[::3], words[1::3], words[2::3], strict=True):
        group = text_of(name)
        text = f'the group {group!r} counts {text_of(slots)} slots in use, and {held} tasks hold one'
        yield Note('warning', 'groups', text, 'a key was lost, or was written by hand')


async def _holders(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    _, *words = await ask(queue, 'holders', '0', 2 * SAMPLE)
    groups: dict[str, list[str]] = {}
    for task_id, group in zip(words[::2], words[1::2], strict=True):
        groups.setdefault(text_of(group), []).append(text_of(task_id))
    for name, ids in groups.items():
        yield Note(
            'warning', 'groups', f'slots of the group {name!r} are held by tasks that do not run: {_shown(ids)}',
            f'its limit counts them; to let more run: torrelque limit {shlex.quote(name)} --concurrency N',
        )  # fmt: skip


async def _limits(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    key = queue.keys['limits'].encode()
    _, words = await read(queue, 'HSCAN', key, 0, 'COUNT', LIMITS) or (b'0', ())
    spoilt = [text_of(name) for name, value in zip(words[::2], words[1::2], strict=True) if are_spoilt(value)]
    groups = [name for name in spoilt if name]
    if groups:
        yield Note(
            'warning', 'groups', f'limits of groups that cannot be read count as the default: {_shown(groups)}',
            f'torrelque limit {shlex.quote(groups[0])} --concurrency N --rate N/s',
        )  # fmt: skip
    if '' in spoilt:
        yield Note(
            'warning', 'groups', 'the default limits of all groups cannot be read, so there are none',
            "torrelque limit '*' --concurrency N --rate N/s",
        )  # fmt: skip


# What is due, and who is there


async def _due(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    first = instant_of(figures.first_delayed)
    if figures.overdue and first is not None and first < figures.now - LATE:
        late = figures.now - first
        text = f'{figures.overdue} delayed tasks are due, the first for {late:.0f} s: nobody sweeps'
        yield Note('warning', 'delayed', text, 'start a worker, or once: torrelque sweep')
    if figures.overdue_leases:
        reply = await queue.command('ZRANGE', queue.keys['working'], 0, 0, 'WITHSCORES')
        words = [word for item in reply for word in (item if isinstance(item, list) else [item])]
        end = instant_of(words[1]) if len(words) == 2 else None
        if end is not None and end < figures.now - LATE:
            late = figures.now - end
            text = f'{figures.overdue_leases} leases have ended, the first {late:.0f} s ago: nobody sweeps'
            yield Note('warning', 'working', text, 'start a worker, or once: torrelque sweep')
    if figures.halted:
        yield Note('note', 'pause', 'the queue is paused', 'torrelque resume')


async def _flows(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    for note in await standing.look(queue) if figures.waiting else ():
        yield note


async def _schedules(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    if not figures.schedules:
        return
    timetable = await scheduled.read_timetable(queue)
    if timetable.late and timetable.since is not None and timetable.since < timetable.now - LATE:
        late = timetable.now - timetable.since
        text = f'{timetable.late} late, the first by {late:.0f} s: {_shown(timetable.late_names, timetable.late)}'
        yield Note('warning', 'schedules', f'{text}; nobody sweeps', 'start a worker, or once: torrelque sweep')
    if timetable.dry:
        text = f'{timetable.dry} dry, so that they do not fire: {_shown(timetable.dry_names, timetable.dry)}'
        yield Note('warning', 'schedules', text, f'{scheduled.WETTING}: torrelque schedules')


async def _hearts(queue: TorrelqueQueue, figures: Figures) -> AsyncIterator[Note]:
    if queue.home is not queue:
        # The hearts are in another shard, and told there.
        return
    if not figures.beating:
        yield Note('note', 'workers', 'no worker has a heartbeat: who works, and how fast, is not known')
        return
    for note in _of_workers(await crew.read_workers(queue)):
        yield note


def _of_workers(workers: Sequence[WorkerView]) -> Iterator[Note]:
    others = sorted({worker.version for worker in workers if worker.state != 'lost'} - {version(), ''})
    if others:
        text = f'workers have other versions than this command ({version()}): {", ".join(map(repr, others))}'
        yield Note('note', 'workers', text, 'bring all to one version')
    for state, level in (('lost', 'warning'), ('stuck', 'warning')):
        names = [worker.name for worker in workers if worker.state == state]
        if names:
            yield Note(level, 'workers', f'{len(names)} {state}: {_shown(names)}', f'torrelque workers --{state}')

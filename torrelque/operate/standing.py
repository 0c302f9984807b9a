"""Flows that stand still, of all that waits: what is in their way, and the command that has them go on."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torrelque import TorrelqueQueue

from . import remedies, stalls
from .asking import ask
from .flows import read_part
from .reading import text_of, whole_of
from .server import Note
from .values import Finding

LOOKED = 10_000
"""Tasks and flows that wait, of which as many are looked at."""
PAGE = 100
"""Of them, and tasks of each flow, that one call looks at, about."""
CLOSER = 20
"""Large flows of which all tasks are looked at."""
NAMED = 3
"""Flows that a command names."""
LATE = 60.0
"""s after which a flow that should have been given up counts as forgotten: sweeps come each 30 s."""
MOMENT = 1.0
"""s after which what was put off, and is still there, counts as left."""
UNTOLD = 5.0
"""s after which what another queue is to be told counts as left: whoever waits does it at once."""


class Stalled(NamedTuple):
    """A flow, what is the matter with it, and a number that belongs to this: see the script."""

    id: str
    word: str
    number: int


async def read_stalled(queue: TorrelqueQueue) -> list[Finding]:
    """What is the matter with flows."""
    return [Finding(queue.name, *note) for note in await look(queue)]


async def look(queue: TorrelqueQueue) -> list[Note]:
    """The same, before the queue is named."""
    found, whole = await _read(queue)
    notes = [*_notes(queue, found, '' if whole else 'at least ')]
    for reason in [*await stalls.of_spread(queue, MOMENT), *await stalls.of_errands(queue, UNTOLD)]:
        notes.append(Note('warning', 'flows', reason.text, reason.command))
    return notes


async def _read(queue: TorrelqueQueue) -> tuple[dict[str, list[Stalled]], bool]:
    """Flows by what is the matter with them, and whether all were looked at."""
    found: dict[str, Stalled] = {}
    cursor, looked = b'0', 0
    while looked < LOOKED:
        _, _, cursor, count, *words = await ask(queue, 'stalled', cursor, PAGE, PAGE)
        looked += count
        for flow, word, number in zip(words[::3], words[1::3], words[2::3], strict=True):
            found[text_of(flow)] = Stalled(text_of(flow), text_of(word), number)
        if cursor == b'0':
            break
    large = [one.id for one in found.values() if one.word == 'large']
    for place, flow_id in enumerate(large):
        if place >= CLOSER or not await _stands_still(queue, flow_id):
            del found[flow_id]
    by_word: dict[str, list[Stalled]] = {}
    for one in sorted(found.values()):
        by_word.setdefault('still' if one.word == 'large' else one.word, []).append(one)
    return by_word, cursor == b'0'


async def _stands_still(queue: TorrelqueQueue, flow_id: str) -> bool:
    """Whether nothing of a large flow goes on; it is read in several calls, between which nothing has ended."""
    before = (await read_part(queue, flow_id)).flow
    items, whole = await stalls.read_unended(queue, flow_id)
    after = (await read_part(queue, flow_id)).flow
    begun = any(item.left in (b'0', b'dead') and item.status is not None for item in items)
    return whole and not begun and after['left'] == before['left'] and whole_of(after['left']) is not None


def _notes(queue: TorrelqueQueue, found: dict[str, list[Stalled]], least: str) -> Iterator[Note]:
    """What is told of flows by what is the matter with them."""
    if some := found.get('dead'):
        are, these = ('flow has', 'it') if len(some) == 1 else ('flows have', 'they')
        tasks = sum(one.number for one in some)
        text = f'{least}{len(some):,} {are} dead tasks ({tasks:,}), and {these} cannot end before these are redriven'
        yield _note(queue, f'{text}: {_named(some)}', 'redrive', some)
    if some := found.get('still'):
        stand, them = ('flow stands', 'it') if len(some) == 1 else ('flows stand', 'them')
        text = f'{least}{len(some):,} {stand} still, because a key was lost: nothing that is left of {them} can begin'
        yield _note(queue, f'{text}: {_named(some)}', 'cancel', some)
    late = [one for one in found.get('late', ()) if one.number > LATE * 1000]
    if late:
        are = 'flow is past its' if len(late) == 1 else 'flows are past their'
        most = max(one.number for one in late) / 1000
        text = f'{least}{len(late):,} {are} time, the first by {most:.0f} s: nobody sweeps: {_named(late)}'
        yield Note('warning', 'flows', text, remedies.command(queue, 'sweep'))


def _note(queue: TorrelqueQueue, text: str, verb: str, some: Iterable[Stalled]) -> Note:
    # What begins with a dash cannot stand beside others in a command.
    first, *others = [one.id for one in some][:NAMED]
    if any(name.startswith('-') for name in (first, *others)):
        others = []
    return Note('warning', 'flows', text, remedies.command(queue, verb, first, *others))


def _named(some: list[Stalled]) -> str:
    rest = len(some) - NAMED
    return ', '.join(repr(one.id) for one in some[:NAMED]) + (f' and {rest:,} more' if rest > 0 else '')

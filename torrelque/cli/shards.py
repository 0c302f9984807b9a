"""``torrelque shards``: how the tasks of a queue are spread over its shards, and where these are; and to have more of
them, or fewer."""

import argparse
from collections.abc import Awaitable
from typing import Any, cast

from torrelque import TorrelqueQueue
from torrelque.operate.overview import Figures, counts_of_shards
from torrelque.sharded import Sharded
from torrelque.worker.places import server_of, slot_of

from .answers import ShardAnswer
from .consent import agree, interruptible, may_ask, refuse_to_act
from .failure import Exit, Failure
from .out import Column, number
from .session import Session, answer

COUNTS = ('pending', 'working', 'delayed', 'dead', 'waiting')
COLUMNS = (
    Column('SHARD', True), Column('TAG'), Column('SLOT', True), Column('SERVER'),
    *(Column(name.upper(), True) for name in COUNTS),
)  # fmt: skip


def shards(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    if found.grow is None and found.shrink is None:
        return answer(found, _shards)
    if found.keyed and found.grow is None:
        raise Failure('--keyed is for --grow: the shards that have groups cannot be fewer')
    if found.timeout is not None and found.shrink is None and not found.keyed:
        raise Failure('--timeout is for --shrink, and for --keyed: growing without it waits for nobody')
    if not found.dry_run:
        refuse_to_act(found)
        if not found.yes and not may_ask(found):
            raise Failure('how many shards a queue has is changed, and nobody can be asked: --yes does it')
    return answer(found, _change)


async def _change(session: Session) -> int:
    """Have a queue have more shards, or fewer."""
    found, out = session.found, session.out
    if session.several:
        raise Failure('name the queue with -q: one at a time has other shards')
    [queue] = session.queues
    if not isinstance(queue, Sharded):
        raise Failure(f'queue {queue.name!r} has no shards: it is in one place of one server')
    await queue.ready()
    now, count = len(queue.shards), found.shrink or found.grow
    out.tell(await _words_of(queue, now, count, found))
    if found.dry_run:
        return Exit.WELL
    if not found.yes and not await agree(out, 'Is that meant?'):
        return Exit.ILL
    await session.operator.record('grow' if found.shrink is None else 'shrink', f'from {now} shards to {count}')
    if found.shrink is None:
        work = queue.grow(count, keyed=found.keyed, timeout=found.timeout)
    else:
        work = queue.shrink(count, found.timeout)
    if not await interruptible(_done(work)):
        out.tell('it was ended on the way; the same command goes on with it')
        return Exit.INTERRUPTED
    return await _shards(session)


async def _done(work: Awaitable[None]) -> bool:
    await work
    return True


async def _words_of(queue: Sharded, now: int, count: int, found: argparse.Namespace) -> str:
    """What a change comes to."""
    if found.shrink is None:
        come = 'come to them, and wait there until the old ones have none left'
        groups = come if found.keyed else 'stay where they are'
        return (
            f'queue {queue.name!r} has {now} shards, and will have {count}: all processes take from the new ones '
            f'within ten seconds, and put tasks into them half a minute later; groups {groups}'
        )
    stats = (await queue.stats_of_shards())[count:]
    left = sum(one.tasks for one in stats if one is not None)
    return (
        f'queue {queue.name!r} has {now} shards, and will have {count}: nothing goes into the others any more, which '
        f'have {number(left)} tasks now, and when they have had none for half a minute they are no more, nor the '
        'results that are kept there'
    )


async def _shards(session: Session) -> int:
    out, away = session.out, 0
    for queue in session.queues:
        await queue.ready()
        # As all that looks it may be asked by a user who may only read.
        answers = [_answer_of(queue, number, one) for number, one in enumerate(await counts_of_shards(queue))]
        away += sum(one['tasks'] is None for one in answers)
        if out.as_json:
            for one in answers:
                out.json(one)
            continue
        if session.several:
            out.line(queue.name, 'bold')
        if not isinstance(queue, Sharded):
            out.tell(f'queue {queue.name!r} has no shards: it is in one place of one server')
        out.table(COLUMNS, [_row(one) for one in answers])
        if gone := [str(one['shard']) for one in answers if one['tasks'] is None]:
            out.tell(f'no answer of shard {", ".join(gone)}')
    return Exit.ILL if away else Exit.WELL


def _answer_of(queue: TorrelqueQueue, number: int, stats: Figures | None) -> ShardAnswer:
    shard = queue.shards[number]
    counts: Any = {name: None if stats is None else getattr(stats, name) for name in ('tasks', *COUNTS)}
    tag = shard.keys['pending'].removesuffix(':pending').removeprefix('{').removesuffix('}')
    told: Any = {
        'queue': queue.name, 'shard': number, 'tag': tag, 'slot': slot_of(shard), 'server': server_of(shard),
    }  # fmt: skip
    return cast(ShardAnswer, {**told, **counts})


def _row(one: ShardAnswer) -> list[str]:
    counts: list[Any] = [one[name] for name in COUNTS]  # type: ignore[literal-required]
    figures = ['-' if count is None else number(count) for count in counts]
    return [str(one['shard']), one['tag'], str(one['slot']), one['server'], *figures]

"""``torrelque shards``: how the tasks of a queue are spread over its shards, and where these are."""

import argparse
from collections.abc import Sequence
from typing import Any, cast

from torrelque import TorrelqueQueue, TorrelqueQueueStats
from torrelque.sharded import Sharded
from torrelque.worker.places import server_of, slot_of

from .answers import ShardAnswer
from .failure import Exit
from .out import Column, number
from .session import Session, answer

COUNTS = ('pending', 'working', 'delayed', 'dead', 'waiting')
COLUMNS = (
    Column('SHARD', True), Column('TAG'), Column('SLOT', True), Column('SERVER'),
    *(Column(name.upper(), True) for name in COUNTS),
)  # fmt: skip


def shards(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _shards)


async def _shards(session: Session) -> int:
    out, away = session.out, 0
    for queue in session.queues:
        await queue.ready()
        stats: Sequence[TorrelqueQueueStats | None]
        stats = await queue.stats_of_shards() if isinstance(queue, Sharded) else [await queue.get_queue_stats()]
        answers = [_answer_of(queue, number, one) for number, one in enumerate(stats)]
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


def _answer_of(queue: TorrelqueQueue, number: int, stats: TorrelqueQueueStats | None) -> ShardAnswer:
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

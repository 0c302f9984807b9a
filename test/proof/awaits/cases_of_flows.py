"""The public calls about flows, and all calls together."""

from __future__ import annotations

from typing import Any

from proof.awaits.cases import CASES, EACH, READ, WHOLE, Bench, Case
from torrelque import TorrelqueNode as Node

NODES = [Node('a', 'a'), Node('b', 'b', after={'a': 'then'})]


async def _going_on(bench: Bench) -> None:
    """A flow of two tasks, of which the first is with the caller."""
    await bench.other.enqueue_flow(NODES, flow_id='f', result_ttl=60)
    [(task_id, _)] = await bench.other.dequeue_many(1, 9)
    bench.held[task_id] = task_id
    await bench.other.put_value('k', 1, by=task_id)


async def _enqueue_behind(bench: Bench) -> str:
    return await bench.queue.enqueue('new', task_id='new', depends_on=['f.a'])


async def _outcomes(bench: Bench) -> list[str]:
    return [outcome.id async for outcome in bench.queue.get_outcomes('f')]


def _first(bench: Bench) -> Any:
    return bench.held['f.a']


FLOWS = [
    Case('enqueue_flow', 'in a call', lambda b: b.queue.enqueue_flow(NODES, flow_id='new'), WHOLE),
    Case('enqueue', 'behind another', _enqueue_behind, WHOLE, _going_on),
    Case('add_to_flow', '', lambda b: b.queue.add_to_flow([Node('new', 'n')], by=_first(b)), WHOLE, _going_on),
    Case('graft', '', lambda b: b.queue.graft([Node('new', 'n')], by=_first(b), last='new'), WHOLE, _going_on),
    Case('put_value', '', lambda b: b.queue.put_value('new', 2, by=_first(b)), EACH, _going_on),
    Case('get_value', '', lambda b: b.queue.get_value('f', 'k'), READ, _going_on),
    Case('get_flow', '', lambda b: b.queue.get_flow('f'), READ, _going_on),
    Case('get_results', '', lambda b: b.queue.get_results('f', 'f.a', 'f.b'), READ, _going_on),
    Case('get_outcomes', '', _outcomes, READ, _going_on),
]  # fmt: skip

ALL = [*CASES, *FLOWS]

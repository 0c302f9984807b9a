"""Flows of torrelque, of this checkout, by plain loops."""

from benchmark.adapters.child import Payload
from benchmark.adapters.flows import Flowing, serve
from benchmark.adapters.on_torrelque import Ours
from torrelque import TorrelqueNode


class Nodes(Ours, Flowing):
    async def chain(self, payloads: list[Payload]) -> None:
        nodes = [
            TorrelqueNode(str(number), payload, {str(number - 1): 'then'} if number else {})
            for number, payload in enumerate(payloads)
        ]
        await self._queue.enqueue_flow(nodes)

    async def fan_in(self, payloads: list[Payload], last: Payload) -> None:
        names = [str(number) for number in range(len(payloads))]
        nodes = [TorrelqueNode(*both) for both in zip(names, payloads, strict=True)]
        await self._queue.enqueue_flow([*nodes, TorrelqueNode('last', last, dict.fromkeys(names, 'then'))])


if __name__ == '__main__':
    serve(Nodes)

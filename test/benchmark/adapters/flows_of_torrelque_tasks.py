"""Flows of decorated functions of torrelque, of this checkout, and its worker."""

from benchmark.adapters.child import Payload
from benchmark.adapters.flows import Flowing, serve
from benchmark.adapters.on_torrelque_tasks import Decorated
from torrelque.flows import gather


class Steps(Decorated, Flowing):
    async def chain(self, payloads: list[Payload]) -> None:
        first, *others = [self._noop.s(payload) for payload in payloads]
        flow = first
        for step in others:
            flow = flow >> step
        await flow.enqueue()

    async def fan_in(self, payloads: list[Payload], last: Payload) -> None:
        await (gather(*(self._noop.s(payload) for payload in payloads)) >> self._noop.s(last)).enqueue()


if __name__ == '__main__':
    serve(Steps)

"""Flows of bullmq, of Python: trees, so a chain is one child in another."""

from typing import Any

import bullmq

from benchmark.adapters.child import Payload
from benchmark.adapters.flows import Flowing, serve
from benchmark.adapters.on_bullmq import OPTIONS, Bullmq


def job(payload: Payload, children: list[dict[str, Any]]) -> dict[str, Any]:
    return {'name': 'noop', 'queueName': 'bench', 'data': payload, 'opts': {**OPTIONS}, 'children': children}


class Trees(Bullmq, Flowing):
    async def open(self) -> None:
        await super().open()
        self._producer = bullmq.FlowProducer({'connection': self.setting.roomy})

    async def close(self) -> None:
        await self._producer.close()
        await super().close()

    async def chain(self, payloads: list[Payload]) -> None:
        children: list[dict[str, Any]] = []
        for payload in payloads:
            children = [job(payload, children)]
        await self._producer.add(children[0])

    async def fan_in(self, payloads: list[Payload], last: Payload) -> None:
        await self._producer.add(job(last, [job(payload, []) for payload in payloads]))


if __name__ == '__main__':
    serve(Trees)

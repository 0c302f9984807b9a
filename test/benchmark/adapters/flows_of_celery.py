"""Chains and chords of celery, with results in Redis, which chords need."""

import celery

from benchmark.adapters.child import Payload
from benchmark.adapters.flows import Flowing, serve
from benchmark.adapters.on_celery import Celery


class Canvas(Celery, Flowing):
    async def open(self) -> None:
        await super().open()
        self._app.conf.result_backend = self.setting.url
        self._app.conf.task_ignore_result = False

    async def chain(self, payloads: list[Payload]) -> None:
        celery.chain(*(self._noop.si(payload) for payload in payloads)).apply_async()

    async def fan_in(self, payloads: list[Payload], last: Payload) -> None:
        celery.chord([self._noop.si(payload) for payload in payloads], self._noop.si(last)).apply_async()


if __name__ == '__main__':
    serve(Canvas)

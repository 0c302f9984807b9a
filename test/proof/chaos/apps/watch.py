"""Whether an application's queues go on: a look each second at what is left, with the faults over.

What it is that kept them from being empty is judged as everywhere in the chaos, by `standstill`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import redis

from proof.chaos.apps.journal import Reader
from proof.chaos.apps.places import Site
from proof.pulse import Pulse
from proof.standstill import CAP, FAILING, PLACES, SAMPLE, Sample, judge


class Watch:
    """Looks on from the process of the rig."""

    def __init__(self, site: Site, reader: Reader) -> None:
        self._site = site
        self._reader = reader
        self.pulse = Pulse(site.pids).start()
        self.samples: list[Sample] = []
        self.places: Counter[str] = Counter()
        """What there was at the last look."""

    async def wait_until(self, is_over: Callable[[], Awaitable[bool]], patience: float = CAP) -> tuple[str, str] | None:
        """Wait for as long as anything goes on; the verdict where it does not come to its end.

        :param patience: s that the machine runs, after which it is late whatever goes on.
        """
        self.samples.clear()
        began = looked = time.monotonic()
        ran, handed = self.pulse.time(), self._reader.look()
        last = ran + patience
        while True:
            with contextlib.suppress(redis.RedisError, OSError):
                if await is_over():
                    return None
            await asyncio.sleep(0.05)
            if (seconds := time.monotonic() - looked) >= 1:
                before, handed = handed, self._reader.look()
                with contextlib.suppress(redis.RedisError, OSError):
                    self.samples.append(await self._sample(seconds, self.pulse.time() - ran, handed - before))
                looked, ran = time.monotonic(), self.pulse.time()
                verdict, why = judge(self.samples)
                if verdict in FAILING or time.monotonic() > began + CAP or self.pulse.time() > last:
                    return verdict, f'{why}; {dict(self.places)}'

    async def _sample(self, seconds: float, ran: float, handed: int) -> Sample:
        self.places.clear()
        for shelf in self._site.shelves():
            self.places.update(dict(zip(PLACES, await self._site.run_script(shelf, SAMPLE), strict=True)))
        takeable = sum(self.places[name] for name in ('pending', 'turns', 'priority', 'due'))
        left = self.places['tasks'] - self.places['dead']
        return Sample(round(seconds, 3), round(ran, 3), handed, left, takeable)

    def stop(self) -> None:
        self.pulse.stop()

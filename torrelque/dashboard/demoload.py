"""What happens in the demo: what there is at its beginning, and a few tasks a second from then on.

There are never more than some thousand tasks: a queue is full at `demoapps.MOST`, of the dead some hundred are kept,
and what has ended is forgotten after some minutes.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

from torrelque import TorrelqueDuplicateError, TorrelqueFullError, TorrelqueQueue, TorrelqueTaskStatus
from torrelque.flows import gather
from torrelque.operate import Operator
from torrelque.tasks import Enqueuer, Handle

from .demoapps import Apps

logger = logging.getLogger(__package__)

TENANTS = ('acme', 'globex', 'hooli', 'umbrella', 'stark', 'wayne', 'cyberdyne')
PAUSED, LIMITED = 'initech', 'globex'
"""The group that is paused, of mails, and the one that has as many films in hand as it may."""
FILMS = ('Metropolis', 'Nosferatu', 'The General', 'Safety Last', 'Sunrise', 'Pandora', 'Faust', 'Wings', 'The Kid')
NAMES = ('anna', 'bela', 'carla', 'dimitri', 'emil', 'farah', 'goran', 'hedda', 'ines', 'jonas', 'kira', 'lars')

PAUSE = 0.3
"""s from one task to the next, on average."""
FRAMES = 24 * 240
"""Frames of a film that is rendered."""
WAITING = 7
"""Films of the limited group that wait, at the least; and newsletters of the paused one, at the most, times four."""
DEAD = 200
"""Dead tasks of a queue that are kept, about."""
SINCE = 1300.0
"""s for which the first newsletter of the paused group has waited, at the beginning."""
TIDY = 5.0
"""s from one look at what has grown, or is used up, to the next."""


class Load:
    """Enqueues tasks.

    :param apps: whose functions are called.
    :param operator: of their queues; it is somebody who acts, for the record.
    :param seed: two loads of the same seed enqueue the same.
    """

    def __init__(self, apps: Apps, operator: Operator, seed: int) -> None:
        self._call = apps.functions
        self._queues = {app.queue.name: app.queue for app in apps.all}
        self._operator = operator
        self._chance = random.Random(seed)
        self._order = 48_211
        self._steady: tuple[tuple[float, Callable[[], Awaitable[object]]], ...] = (
            (36, self._receipt), (22, self._newsletter), (5, self._reset), (3, self._remind), (8, self._export),
            (20, self._thumbnail), (3, self._transcode), (2.5, self._report), (1.5, self._gallery),
        )  # fmt: skip

    async def begin(self) -> None:
        """Enqueue what there is at the beginning."""
        media, mail = self._queues['media'], self._queues['mail']
        await asyncio.gather(
            media.set_limit(LIMITED, concurrency=2), mail.set_limit('hooli', rate=(20, 60)),
            self._queues['report'].set_limit(concurrency=4), mail.pause(PAUSED),
        )  # fmt: skip
        # Those that are rendered already come first.
        await asyncio.gather(*(self._film(first=FRAMES * part // 10) for part in (4, 1)))
        films = await asyncio.gather(*(self._film() for _ in range(WAITING + 2)))
        letters = await asyncio.gather(*(self._newsletter(PAUSED) for _ in range(2 * WAITING)))
        await asyncio.gather(
            self._age(media, films, 60 * len(films)), self._age(mail, letters, SINCE),
            *(self._remind() for _ in range(18)),
            *(self._receipt() for _ in range(12)), *(self._thumbnail() for _ in range(10)),
            self._report('webshop'), self._report('legacy-crm'), self._gallery(),
            *self._failures(),
        )  # fmt: skip

    async def run(self) -> None:
        """Enqueue a few tasks a second, for ever."""
        loop = asyncio.get_running_loop()
        shares, calls = [share for share, _ in self._steady], [call for _, call in self._steady]
        tidied = loop.time()
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / PAUSE))
            try:
                with suppress(TorrelqueFullError, TorrelqueDuplicateError):
                    await self._chance.choices(calls, shares)[0]()
                if loop.time() - tidied > TIDY:
                    tidied = loop.time()
                    await self._tidy()
            except Exception:
                # Whatever somebody has done to the queues, the demo goes on.
                logger.exception('the demo could not enqueue a task')

    async def _age(self, queue: TorrelqueQueue, handles: Sequence[Handle[Any] | None], since: float) -> None:
        """Have it that tasks were enqueued one after the other, the first so long (s) ago."""
        now = time.time()
        for place, handle in enumerate(handles):
            if handle is not None:
                instant = 1000 * (now - since * (1 - place / len(handles)))
                key = f'{queue.keys["task"]}:{handle.id}'
                await queue.command('HSET', key, 'enqueue_time', f'{instant:.0f}')

    # What is enqueued

    def _failures(self) -> list[Awaitable[object]]:
        """Calls that fail, most of them for good at their first attempt."""
        receipt, transcode = self._call['send_receipt'], self._call['transcode']
        away = [
            receipt.options(group=self._tenant(), max_attempts=1).enqueue(*self._bought(23 * n))
            for n in range(2014, 2033)
        ]
        refused = [
            receipt.options(group=self._tenant()).enqueue(n, f'{self._name()}@mail.invalid', 12.5, 'tok_4eC39HqLyjW')
            for n in range(46_101, 46_107)
        ]
        nameless = [self._nameless() for _ in range(9)]
        months = [self._export(29 * n) for n in range(1, 8)]
        rates = [self._call['refresh_rates'].options(max_attempts=1).enqueue('GBP', 'rk_live_9aC1') for _ in range(5)]
        full = [
            transcode.options(group='umbrella', max_attempts=1).enqueue({'film': film, 'seconds': 9600}, 240)
            for film in ('berlin-alexanderplatz', 'napoleon', 'die-nibelungen')
        ]
        codecs = [
            transcode.options(group='stark', max_attempts=1).enqueue({'film': film, 'codec': 'wmv3'}, 240)
            for film in ('home-video-1', 'home-video-2')
        ]
        return [*away, *refused, *nameless, *months, *rates, *full, *codecs]

    async def _receipt(self) -> object:
        self._order += 1
        return await self._of_tenant('send_receipt').enqueue(*self._bought(self._order))

    def _bought(self, order: int) -> tuple[int, str, float, str]:
        domain = 'mail.invalid' if order % 61 == 0 else 'mail.example'
        total = round(self._chance.uniform(5, 250), 2)
        return order, f'{self._name()}@{domain}', total, f'tok_{self._chance.getrandbits(64):016x}'

    async def _newsletter(self, tenant: str | None = None) -> Handle[Any] | None:
        tenant = tenant or self._chance.choice((*TENANTS, PAUSED))
        if tenant == PAUSED and (await self._queues['mail'].get_group_stats(PAUSED)).waiting >= 4 * WAITING:
            return None
        if self._chance.random() < 0.02:
            return await self._nameless()
        name = self._name()
        to = {'first_name': name.title(), 'address': f'{name}@mail.example'}
        return await self._call['send_newsletter'].options(group=tenant).enqueue('the autumn issue', to)

    async def _nameless(self) -> Handle[Any]:
        to = {'address': f'{self._chance.randrange(10**6)}@mail.example'}
        return await self._of_tenant('send_newsletter').enqueue('the autumn issue', to)

    async def _reset(self) -> object:
        user = {'email': f'{self._name()}@mail.example', 'password': f'{self._chance.getrandbits(48):012x}'}
        return await self._call['send_password_reset'].enqueue(user, f'{self._chance.getrandbits(128):032x}')

    async def _remind(self) -> object:
        delay = self._chance.uniform(30, 1500)
        cart, to = self._chance.randrange(10**5), f'{self._name()}@mail.example'
        return await self._call['remind_of_cart'].options(delay=delay).enqueue(cart, to)

    async def _export(self, month: int | None = None) -> object:
        month = self._chance.randrange(1, 600) if month is None else month
        database = {'host': 'db-2.example', 'user': 'reports', 'password': f'{self._chance.getrandbits(48):012x}'}
        return await self._of_tenant('export_csv').enqueue(self._tenant(), month, database)

    async def _thumbnail(self) -> object:
        return await self._of_tenant('make_thumbnail').enqueue(self._chance.randrange(10**6))

    async def _transcode(self) -> object:
        film, odd = self._slug(), self._chance.random()
        more = {'codec': 'wmv3'} if odd < 0.04 else {'seconds': 9600} if odd < 0.08 else {'seconds': 5400}
        return await self._of_tenant('transcode').enqueue({'film': film, **more}, self._chance.choice((480, 720)))

    async def _film(self, first: int = 0) -> Handle[Any]:
        return await self._call['render_film'].options(group=LIMITED).enqueue(self._title(), FRAMES, first)

    async def _report(self, name: str | None = None) -> object:
        name = name or self._chance.choice(('webshop', 'stores', 'partners'))
        source = {'name': name, 'url': f'https://{name}.example/export', 'api_key': f'{self._chance.getrandbits(64):x}'}
        data = self._call['extract'].s(source)
        flow = data >> (self._call['clean'] | self._call['audit']) >> self._call['load']
        # The flow of that name is the one that stands still, and is found by it.
        flow_id = 'ledger-of-november' if name == 'legacy-crm' else None
        return await flow.options(name=f'report of {name}', flow_id=flow_id).enqueue()

    async def _gallery(self) -> object:
        film, transcode = self._call['probe'].s(self._slug()), self._call['transcode']
        sizes = gather(*(transcode.s(film.result, height) for height in (480, 720, 1080)))
        return await (sizes >> self._call['publish']).options(name='film on the web').enqueue()

    # Parts

    def _of_tenant(self, name: str) -> Enqueuer[..., Any]:
        return self._call[name].options(group=self._tenant())

    def _tenant(self) -> str:
        return self._chance.choice(TENANTS)

    def _name(self) -> str:
        return self._chance.choice(NAMES)

    def _title(self) -> str:
        return f'{self._chance.choice(FILMS)} {self._chance.randrange(1921, 1930)}'

    def _slug(self) -> str:
        return self._title().lower().replace(' ', '-')

    async def _tidy(self) -> None:
        """See to it that there are films to render, and that the dead are not too many."""
        if (await self._queues['media'].get_group_stats(LIMITED)).waiting < WAITING:
            await self._film()
        for queue in self._queues.values():
            await self._thin_out(queue)

    async def _thin_out(self, queue: TorrelqueQueue) -> None:
        """Take back those that died first, but those of flows, which stand still for everybody to see."""
        dead = (await queue.get_queue_stats()).dead
        if dead > DEAD + DEAD // 4:
            page = await self._operator.page('dead', most=dead - DEAD, queue=queue.name)
            for task in page.tasks:
                if task.flow is None:
                    await queue.cancel(task.id, only=[TorrelqueTaskStatus.DEAD])

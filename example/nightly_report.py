"""A nightly report on a clock that runs fast: half a year of schedules in some seconds, and a picture of when what ran.

    python example/nightly_report.py
    python example/nightly_report.py --days 3

Three functions have schedules, in local time of Berlin: a report at half past two each night, a backup on weekdays, a
measurement each hour.  Nobody fires them but the worker that waits for tasks.  The clock of the queue is moved from one
instant to the next, as a test does it (`torrelque.testing`), so nothing here waits for a night.

1. Some ordinary days.
2. Nobody is there for two days: what is missed is not made up, but for the last.
3. The days around the next two changes of clocks: half past two is missing on one, and comes twice on the other.

A line is a day, and a column an hour.  At its end the program counts: each night has had one report, else the exit code
is 1.
"""

import argparse
import asyncio
import sys
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import redis.asyncio

from torrelque import Torrelque
from torrelque.embedded import Server
from torrelque.tasks import Tasks, current
from torrelque.testing import Clock, run_until_idle

BERLIN = ZoneInfo('Europe/Berlin')
SIGNS = {'report': 'R', 'backup': 'B', 'measure': '.'}
Ran = dict[date, list[tuple[str, datetime]]]


def make_app(queue: Torrelque, ran: Ran) -> Tasks:
    """The application: what runs when, and notes that it did."""
    app = Tasks(queue, name='nightly')

    def note(name: str) -> None:
        at = current().scheduled
        assert at is not None
        ran[at.astimezone(BERLIN).date()].append((name, at.astimezone(BERLIN)))

    @app.cron('30 2 * * *', timezone='Europe/Berlin', name='report')
    @app.task
    async def report() -> None:
        note('report')

    @app.cron('0 22 * * MON-FRI', timezone='Europe/Berlin', name='backup')
    @app.task
    async def backup() -> None:
        note('backup')

    @app.cron('0 * * * *', timezone='Europe/Berlin', name='measure')
    @app.task
    async def measure() -> None:
        note('measure')

    return app


def change_of_clocks(day: date) -> date:
    """The next day on which clocks change in Berlin."""

    def offset(of: date) -> timedelta | None:
        return datetime(of.year, of.month, of.day, tzinfo=BERLIN).utcoffset()

    while offset(day) == offset(day + timedelta(days=1)):
        day += timedelta(days=1)
    return day


def draw(day: date, ran: list[tuple[str, datetime]]) -> str:
    """A day as a line: for each hour what ran in it, of several the rarest."""
    cells = [' '] * 24
    for name, at in sorted(ran, key=lambda one: list(SIGNS).index(one[0]), reverse=True):
        cells[at.hour] = SIGNS[name]
    reports = ', '.join(f'{at:%H:%M}' for name, at in ran if name == 'report') or 'none'
    measured = sum(name == 'measure' for name, _ in ran)
    return f'{day:%a %d %b %Y}  |{"|".join(cells)}|  report {reports}, measured {measured} times'


async def run(days: int) -> bool:
    """The acts; whether each night has had its report."""
    ran: Ran = defaultdict(list)
    with Server() as server:
        async with redis.asyncio.from_url(server.url) as client, Torrelque(client, queue='nightly') as queue:
            app, clock = make_app(queue, ran), Clock(queue)
            await run_until_idle(app, clock=clock)

            async def now() -> datetime:
                return (await app.schedules.next('measure', 1))[0].astimezone(BERLIN) - timedelta(hours=1)

            async def go_on(until: date) -> None:
                """From one instant to the next, until a day has begun."""
                while (await now()).date() < until:
                    await clock.move_to_next()
                    await run_until_idle(app, clock=clock)

            async def show(title: str, count: int) -> list[date]:
                first = (await now()).date() + timedelta(days=1)
                await go_on(first)
                print(f'\n{title}\n{" " * 17}{" ".join(f"{hour:<3}" for hour in range(0, 24, 2))}')
                shown = [first + timedelta(days=number) for number in range(count)]
                for day in shown:
                    await go_on(day + timedelta(days=1))
                    print(draw(day, ran[day]), flush=True)
                return shown

            print('R the nightly report   B the backup on weekdays   . the measurement each hour')
            nights = await show('Ordinary days', days)

            await clock.move(timedelta(days=2))
            await run_until_idle(app, clock=clock)
            today = (await now()).date()
            print('\nNobody was there for two days, and then of each schedule the latest has run')
            for back in (2, 1, 0):
                day = today - timedelta(days=back)
                print(draw(day, ran[day]))

            for _ in range(2):
                change = change_of_clocks((await now()).date() + timedelta(days=3))
                away = change - timedelta(days=2) - (await now()).date()
                await clock.move(away)
                await run_until_idle(app, clock=clock)
                nights += await show(f'Clocks change on {change:%d %B %Y}', 3)

            counts = Counter(day for day in nights for name, _ in ran[day] if name == 'report')
            record = await app.schedules.get('report')
    print(f'\n{len(nights)} nights that are shown whole, {sum(counts.values())} reports')
    print(f'{record.skipped} nights on which nobody was there were passed over, but for the last of each time')
    return all(counts[night] == 1 for night in nights)


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description='A nightly report, on a clock that runs fast.')
    parser.add_argument('--days', type=int, default=7, help='ordinary days that are shown')
    return 0 if asyncio.run(run(parser.parse_args().days)) else 1


if __name__ == '__main__':
    sys.exit(main())

"""The figures as tables, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmark import meter
from benchmark.speed.figures import FLOOR_FIGURES
from benchmark.speed.goals import goals_table
from benchmark.speed.systems import FLOOR, OURS
from benchmark.tables import NONE, Table, as_markdown as markdown_of, as_text as text_of, thousands

Result = dict[str, Any]

RATES = (
    ('enqueue_one', 'enqueue one by one'),
    ('enqueue_100', 'enqueue 100 at a time'),
    ('enqueue_bulk', 'enqueue bulk'),
    ('drain_1', 'drain 1'),
    ('drain_100', 'drain 100'),
    ('drain_1000', 'drain 1,000'),
    ('drain_bulk_100', 'drain bulk 100'),
    ('drain_bulk_250', 'drain bulk 250'),
)


class Tables:
    """The tables of one result."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._figures: dict[str, Any] = result['figures']
        self._names = [name for name in result['systems'] if name != FLOOR]

    def all(self) -> list[Table]:
        tables = []
        for size in ('60', '300'):
            keys = [(key, title) for key, title in RATES if any(self._part(n, key, size, 'rate') for n in self._names)]
            if keys:
                tables.append(self._rates(size, keys))
        goals = goals_table(self._figures)
        return [*tables, self._times(), self._costs(), self._floor(), *([goals] if goals else [])]

    def _part(self, name: str, key: str, size: str, part: str) -> float | None:
        value = self._figures.get(name, {}).get(key, {}).get(size, {}).get(part)
        return None if value is None else float(value)

    def _cell(self, name: str, key: str, size: str, part: str, show: Callable[[float], str]) -> str:
        value = self._part(name, key, size, part)
        if value is not None:
            return show(value)
        return 'failed' if self._result['failures'].get(name, {}).get(key) else NONE

    def _rate(self, name: str, key: str, size: str) -> str:
        ours = self._part(OURS, key, size, 'rate')

        def show(rate: float) -> str:
            return thousands(rate) + (f' ({ours / rate:.1f}x)' if ours and name != OURS else '')

        return self._cell(name, key, size, 'rate', show)

    def _rates(self, size: str, keys: list[tuple[str, str]]) -> Table:
        title = f'Thousands of tasks a second, payload of about {size} bytes; in brackets, Torrelque by comparison'
        rows = []
        for name in self._names:
            if name in self._result['not_measured']:
                rows.append([name, self._result['not_measured'][name]])
            else:
                rows.append([name, *(self._rate(name, key, size) for key, _ in keys), self._crash(name)])
        return Table(title, ['', *(heading for _, heading in keys), 'killed consumer'], rows)

    def _crash(self, name: str) -> str:
        tried = self._result['crashes'].get(name, {})
        known = self._result['systems'][name]['crash']
        if 'error' in tried:
            return f'{known}, not tried'
        if tried and (tried['again'] is None) == (known == 'keeps'):
            return f'{known}?'  # the trial and the documentation disagree
        return str(known)

    def _times(self) -> Table:
        head = ['', 'pick-up p50', 'p99', 'lateness p50', 'max', 'consumers', 'note']
        rows = []
        for name in self._names:
            if name not in self._result['not_measured']:
                about = self._result['systems'][name]
                parts = (('pickup', 'p50'), ('pickup', 'p99'), ('late', 'p50'), ('late', 'max'))
                cells = [self._cell(name, key, '60', part, milliseconds) for key, part in parts]
                rows.append([name, *cells, about['consumers'], about['note']])
        return Table('Idle pick-up, and lateness of a delay of 1 s (ms)', head, rows)

    def _costs(self) -> Table:
        """Enqueueing one by one and 100 consumers; then what is cheapest: in bulk, where there is."""
        head = ['', 'commands', 'round trips', 'server µs', 'client µs', 'bulk: server µs', 'client µs', 'notified']
        head += ['bytes pending, 60', '300']
        rows = []
        for name in self._names:
            if name in self._result['not_measured']:
                continue
            single = ('enqueue_one', 'drain_100')
            cells = [self._life(name, single, part) for part in ('commands', 'trips', 'server_us', 'client_us')]
            bulk = tuple(
                first if self._part(name, first, '60', 'rate') else second
                for first, second in (('enqueue_bulk', 'enqueue_100'), ('drain_bulk_100', 'drain_100'))
            )
            cells += [self._life(name, bulk, part) for part in ('server_us', 'client_us')]
            cells.append(self._life(name, ('enqueue_bulk_notified', 'drain_bulk_100_notified'), 'server_us'))
            cells += [self._cell(name, 'pending', size, 'bytes', '{:.0f}'.format) for size in ('60', '300')]
            rows.append([name, *cells])
        return Table('Costs of a task over its whole life: one by one and 100 consumers; in bulk', head, rows)

    def _life(self, name: str, keys: Sequence[str], part: str) -> str:
        values = [self._part(name, key, '60', part) for key in keys]
        return f'{sum(value for value in values if value is not None):.1f}' if None not in values else NONE

    def _floor(self) -> Table:
        rows = []
        for figure in FLOOR_FIGURES:
            cells = [self._cell(FLOOR, figure.key, size, 'rate', thousands) for size in ('60', '300')]
            rows.append([figure.title, *cells, self._cell(FLOOR, figure.key, '60', 'server_us', '{:.1f}'.format)])
        return Table('The floor, thousands of tasks a second', ['', '60 bytes', '300 bytes', 'server µs'], rows)


def milliseconds(value: float) -> str:
    return f'{value:.2f}' if value < 100 else f'{value:.0f}'


def about(result: Result) -> str:
    versions = result['versions'].get(OURS, {}).get('versions', {})
    rounds = result['plan']['rounds']
    return meter.about(result['machine'], versions, result['date'], rounds, awake=result['awake'])


def versions(result: Result) -> str:
    own = {'taskiq-redis': 'taskiq-redis', 'torrelque 0.9': 'torrelque'}
    found = []
    for name, answer in result['versions'].items():
        version = answer['versions'].get(own.get(name, name))
        if version and name not in (FLOOR, OURS):
            found.append(f'{own.get(name, name)} {version}')
    return ', '.join(found)


def as_text(result: Result) -> str:
    lines = [about(result), versions(result), *text_of(Tables(result).all())]
    for name, failures in result['failures'].items():
        lines += [f'{name}: {reason}' for reason in failures.values()]
    return '\n'.join(lines)


def as_markdown(result: Result) -> str:
    lines = [f'Measured on {about(result)}; {versions(result)}.', *markdown_of(Tables(result).all())]
    return '\n'.join(lines) + '\n'

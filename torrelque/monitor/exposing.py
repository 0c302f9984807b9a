"""The text that Prometheus reads, and the families of a registry, out of what was read.

What a line looks like is the affair of prometheus-client alone: names, labels, what is escaped, comments.  It is asked
once for each series; from then on only the numbers are put in anew, where they have changed: of two hundred functions
there are four thousand lines, for which it takes a tenth of a second.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from .encoding import Encoder, choose
from .reading import Snapshot
from .series import BOUNDS, ROWS, Row

KINDS = 4
"""Kinds of text of which lines are kept: a server asks for the same one each time."""


class Families:
    """What prometheus-client calls a collector: families that are made already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """The families."""
        return iter(self._families)


def family(row: Row) -> Any:
    """The family of a metric, without series."""
    kinds: dict[str, Any] = {
        'gauge': GaugeMetricFamily, 'counter': CounterMetricFamily, 'histogram': HistogramMetricFamily
    }  # fmt: skip
    return kinds[row.kind](row.name, row.help, labels=row.labels)


def families(snapshot: Snapshot) -> list[Metric]:
    """All families, with what was read."""
    found: list[Metric] = []
    for row in ROWS:
        one = family(row)
        for labels, values in row.series(snapshot):
            _add(one, row, labels, values)
        found.append(one)
    return found


def _add(one: Any, row: Row, labels: Sequence[str], values: Sequence[float]) -> None:
    if row.kind == 'histogram':
        *counts, total = values
        one.add_metric(labels, [*zip(BOUNDS, counts, strict=True)], total)
    elif row.split:
        for last, value in zip(row.split, values, strict=True):
            one.add_metric((*labels, last), value)
    else:
        one.add_metric(labels, *values)


class _Lines(NamedTuple):
    """The lines of a series."""

    form: str
    """The lines, with ``%s`` for each number."""
    values: tuple[float, ...]
    text: str


class Text:
    """Makes one kind of text."""

    def __init__(self, encode: Encoder) -> None:
        # Legend.  _end: what ends a text.  _heads: comments of each family.  _known: the lines of each series, by name
        # and labels, as they were last.  _last: what was read last, and its text.
        self._encode = encode
        self._end = encode(Families([])).decode()
        self._heads = {row.name: encode(Families([family(row)])).decode().removesuffix(self._end) for row in ROWS}
        self._known: dict[tuple[str, tuple[str, ...]], _Lines] = {}
        self._last: tuple[Snapshot, bytes] | None = None

    def of(self, snapshot: Snapshot) -> bytes:
        """The text of what was read."""
        if self._last is not None and self._last[0] is snapshot:
            return self._last[1]
        known, self._known = self._known, {}
        parts: list[str] = []
        for row in ROWS:
            parts.append(self._heads[row.name])
            for labels, values in row.series(snapshot):
                key = row.name, labels
                lines = known.get(key) or self._new(row, labels, values)
                if lines.values != values:
                    lines = lines._replace(values=values, text=_fill(lines.form, row, values))
                self._known[key] = lines
                parts.append(lines.text)
        parts.append(self._end)
        text = ''.join(parts).encode()
        self._last = snapshot, text
        return text

    def _new(self, row: Row, labels: Sequence[str], values: tuple[float, ...]) -> _Lines:
        """A series that was not there before."""
        one = family(row)
        _add(one, row, labels, [0.0] * len(values))
        lines = self._encode(Families([one])).decode().split('\n')
        heads = [line.rpartition(' ')[0].replace('%', '%%') for line in lines if line and line[0] != '#']
        form = ''.join(f'{head} %s\n' for head in heads)
        return _Lines(form, values, _fill(form, row, values))


def _fill(form: str, row: Row, values: Sequence[float]) -> str:
    if row.kind == 'histogram':
        # Behind the buckets come the count, which is that of the last one, and the sum.
        values = (*values[:-1], values[-2], values[-1])
    # Below a million, Prometheus writes numbers as Python does.
    return form % tuple([repr(one) if one < 1e6 else floatToGoString(one) for one in map(float, values)])  # type: ignore[no-untyped-call]


class Exposition:
    """Makes texts of what was read, of the kind that a request accepts."""

    def __init__(self) -> None:
        self._texts: dict[str, Text] = {}

    def of(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """The text, and what its type is called."""
        encode, kind = choose(accept)
        text = self._texts.pop(kind, None) or Text(encode)
        # The kind that was asked for last is behind the others, of which the first is forgotten.
        self._texts[kind] = text
        if len(self._texts) > KINDS:
            del self._texts[next(iter(self._texts))]
        return text.of(snapshot), kind


def describe() -> Iterable[Metric]:
    """All families, without series."""
    return [family(row) for row in ROWS]

"""What an exporter tells, read by the parsers of prometheus-client."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from torrelque import Torrelque
from torrelque.monitor import Metrics
from torrelque.monitor.series import ROWS
from torrelque.operate import BUCKETS

OPEN = 'application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'
"""What Prometheus asks for."""
AGES = ('_age_seconds', '_overdue_seconds', '_late_seconds', '_scrape_seconds')
"""What differs from one moment to the next, by the ends of their names."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(text: bytes, accept: str = '') -> Samples:
    """The samples of a text, by name and labels.  It has no series twice, and only families that there are."""
    read = openmetrics.text_string_to_metric_families if accept else parser.text_string_to_metric_families
    families = [*read(text.decode())]
    assert [family.name for family in families] == [row.name for row in ROWS]
    assert [family.type for family in families] == [row.kind for row in ROWS]
    labels = {row.name: {*row.labels} for row in ROWS}
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            assert {*sample.labels} - {'le'} == labels[family.name], sample
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


async def scrape(metrics: Metrics, accept: str = '') -> Samples:
    """What an exporter tells now, whatever it has told within the last second."""
    await metrics.aclose()
    text, _ = await metrics.exposition(accept)
    return samples_of(text, accept)


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f'torrelque_{name}', tuple(sorted(labels.items()))))


def values(samples: Samples, name: str, label: str, **labels: str) -> dict[str, float]:
    """The values of a metric by one of its labels, the others being given."""
    found = {}
    for (own, pairs), number in samples.items():
        its = dict(pairs)
        if own == f'torrelque_{name}' and labels.items() <= its.items() and {*its} == {label, *labels}:
            found[its[label]] = number
    return found


def lasting(samples: Samples) -> Samples:
    """Without what differs from one moment to the next."""
    return {key: number for key, number in samples.items() if not key[0].endswith(AGES) or 'run_' in key[0]}


def check_histograms(samples: Samples) -> int:
    """Each histogram is one: counts do not sink from one bucket to the next, the last is the count.  How many."""
    heads: dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float]] = {}
    for (name, pairs), number in samples.items():
        if name.endswith('_bucket'):
            rest = tuple(pair for pair in pairs if pair[0] != 'le')
            heads.setdefault((name.removesuffix('_bucket'), rest), {})[float(dict(pairs)['le'])] = number
    for (name, pairs), buckets in heads.items():
        counts = [buckets[bound] for bound in BUCKETS]
        assert counts == sorted(counts)
        assert len(buckets) == len(BUCKETS)
        assert samples[f'{name}_count', pairs] == counts[-1]
        assert samples[f'{name}_sum', pairs] >= 0
    return len(heads)


def numbers(succeeded: int = 1, failed: int = 0, dead: int = 0, lost: int = 0, ms: float = 1.5) -> list[float]:
    """Counts of a function, all of whose runs were in the second bucket."""
    return [succeeded, failed, dead, lost, ms, 0, succeeded + failed]


async def write_totals(queue: Torrelque, rows: Mapping[str, Sequence[float]], more: Iterable[Any] = ()) -> None:
    """Totals as beats leave them."""
    key = queue.keys['pending'].removesuffix('pending') + 'totals'
    flat = [word for name, row in rows.items()
            for word in (f'={name}'.encode('utf-8', 'surrogateescape'), json.dumps(row))]  # fmt: skip
    await queue.command('HSET', key, *flat, *more)

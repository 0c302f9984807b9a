"""Metrics of a process of workers, for Prometheus; a scrape reads what the process knows, and asks no server."""

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .encoding import choose
from .judging import Seen
from .labels import NONE, clean

PREFIX = 'torrelque_process_'
OUTCOMES = ('succeeded', 'retried', 'dead', 'lost')


class _Processes(Collector):
    def __init__(self, seen: Sequence[Seen]) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        slots = _gauge('slots', 'Tasks that the worker of the process has in hand at a time, at the most.')
        busy = _gauge('busy', 'Tasks in hand.')
        lag = _gauge('lag_seconds', 'For how long the event loop stood still at the most, in the last minute.')
        age = _gauge('claim_age_seconds', 'How long ago a claim was answered, or there was a reason to make none.')
        memory = _gauge('resident_bytes', 'Memory of the process.')
        attempts = CounterMetricFamily(
            PREFIX + 'attempts', 'Attempts of the process, by function and outcome.',
            labels=('process', 'task', 'outcome'),
        )  # fmt: skip
        for one in self._seen:
            if (state := one.state) is None:
                continue
            labels, health = [str(one.process)], state.health
            slots.add_metric(labels, health['concurrency'])
            busy.add_metric(labels, health['busy'])
            lag.add_metric(labels, max(state.stall, one.silent))
            if state.idle is not None:
                age.add_metric(labels, max(state.idle, one.silent))
            if health['rss'] is not None:
                memory.add_metric(labels, health['rss'])
            for name, (succeeded, failed, dead, lost) in state.attempts.items():
                for outcome, count in zip(OUTCOMES, (succeeded, max(0, failed - dead), dead, lost), strict=True):
                    attempts.add_metric([*labels, clean(name) or NONE, outcome], count)
        yield from (slots, busy, lag, age, memory, attempts)


def _gauge(name: str, told: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, told, labels=('process',))


def write_metrics(seen: Sequence[Seen], accept: str) -> tuple[bytes, str]:
    """The metrics of processes as text, and its kind.

    :param accept: which kinds the reader takes, as its header says.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Processes(seen))
    encoder, kind = choose(accept)
    return encoder(registry), kind

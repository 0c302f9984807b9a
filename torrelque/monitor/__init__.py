"""How workers and queues are, for what watches over them from outside: probes, metrics, alerts.

Each name is imported when it is asked for, because each needs other libraries, or none.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .alerts import Alerts
    from .collecting import Collector
    from .metrics import Metrics
    from .moment import breaches
    from .notice import Notice
    from .rules import Rule, rules_of
    from .serving import HealthServer, serve_health
    from .sinks import Sink, Webhook, sinks_of

__all__ = [
    'Alerts',
    'Collector',
    'HealthServer',
    'Metrics',
    'Notice',
    'Rule',
    'Sink',
    'Webhook',
    'breaches',
    'rules_of',
    'serve_health',
    'sinks_of',
]

_PLACES = {
    'Alerts': 'alerts', 'Collector': 'collecting', 'HealthServer': 'serving', 'Metrics': 'metrics', 'Notice': 'notice',
    'Rule': 'rules', 'Sink': 'sinks', 'Webhook': 'sinks', 'breaches': 'moment', 'rules_of': 'rules',
    'serve_health': 'serving', 'sinks_of': 'sinks',
}  # fmt: skip
"""Which module has a name."""


def __getattr__(name: str) -> Any:
    if (place := _PLACES.get(name)) is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'.{place}', __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The rules and the sinks of a file of settings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torrelque.config import Config
    from torrelque.monitor import Rule, Sink


class Watched(NamedTuple):
    """What a file says of alerts."""

    rules: 'Sequence[Rule]' = ()
    sinks: 'Mapping[str, Sink]' = {}  # noqa: RUF012 - nobody changes it

    @property
    def queues(self) -> list[str]:
        """Names of the queues, if each rule names some."""
        named = [rule.queues for rule in self.rules]
        return [*dict.fromkeys(name for names in named for name in names)] if all(named) else []


def watched_in(config: 'Config') -> Watched:
    """What a file says."""
    import msgspec

    from torrelque.monitor import rules_of, sinks_of

    said = config.sections
    rules: dict[str, Any] = {name: _named(msgspec.structs.asdict(rule)) for name, rule in said.alerts.rules.items()}
    sinks = {name: {'webhook': sink.webhook} for name, sink in said.sinks.items()}
    return Watched(rules_of({**rules, 'defaults': said.alerts.defaults}), sinks_of(sinks))


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a section by their keys; those that are not given are None."""
    return {'for' if name == 'for_' else name: value for name, value in values.items()}

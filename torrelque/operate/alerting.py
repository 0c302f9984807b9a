"""Alerts as `torrelque.monitor` has left them: what the rules of a queue were at the last look of whoever looks.

A rule that was changed is another one to the server, for a day; here it is one, and what was looked at last counts.
"""

import json
from dataclasses import dataclass
from typing import Any

from torrelque import TorrelqueQueue

from .asking import ask
from .parts import home_of
from .reading import instant_of, number_of, text_of
from .values import Value

LATE = 60.0
"""s after the last look at a rule from which nobody looks at it any more."""
STATES = ('calm', 'rising', 'falling', 'firing')


@dataclass(frozen=True, slots=True)
class AlertView(Value):
    """A rule of a queue, at the last look at it."""

    queue: str
    rule: str
    """Its name."""
    state: str
    """'calm', 'rising' (until it was so for its time), 'firing', 'falling' (it fires until it was below for its
    time)."""
    since: float
    """Since when it has been that."""
    began: float | None
    """Since when the value was too high, of a rule that fires, or fired last."""
    value: float | None
    """What was measured; None where there was nothing to measure."""
    words: str
    """The same in words."""
    seen: float
    """When it was looked at last."""
    told: float | None
    """When somebody was told last that it fires."""
    owed: str | None
    """What is still to be told: 'firing', 'repeat', 'resolved'."""
    server_time: float

    @property
    def firing(self) -> bool:
        """Whether it fires, as far as was seen last."""
        return self.state in ('firing', 'falling')

    @property
    def current(self) -> bool:
        """Whether anybody looks at it: one that nobody looks at may be wrong by now."""
        return self.server_time - self.seen <= LATE

    @classmethod
    def of(cls, queue: str, rule: str, state: bytes, now: float) -> 'AlertView | None':
        """A state as the server has it; None where it is none.

        :param now: the server's time (s).
        """
        try:
            found = json.loads(state)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or found.get('state') not in STATES:
            return None
        since, seen = instant_of(found.get('since')), instant_of(found.get('seen'))
        if since is None or seen is None:
            return None
        words = found.get('words')
        value: Any = found.get('value')
        owed = found.get('owed')
        return cls(
            queue=queue, rule=rule, state=found['state'], since=since, began=instant_of(found.get('began')),
            value=number_of(value) if isinstance(value, (int, float)) else None,
            words=words if isinstance(words, str) else '', seen=seen, told=instant_of(found.get('told')),
            owed=owed if owed in ('firing', 'repeat', 'resolved') else None, server_time=now,
        )  # fmt: skip


async def read_alerts(queue: TorrelqueQueue) -> list[AlertView]:
    """The rules of `torrelque.monitor` that anybody has looked at in the last day, in order of their names; of what is
    not `AlertView.current`, nobody knows how it is.

    :raises TorrelqueServerError: the server refused it.
    """
    now, flat = await ask(await home_of(queue), 'alerts')
    found: dict[str, AlertView] = {}
    for field, state in zip(flat[::2], flat[1::2], strict=True):
        name = text_of(field.rpartition(b':')[0])
        view = AlertView.of(queue.name, name, state, now / 1000)
        if view is None or not name:
            continue
        known = found.get(name)
        if known is None or _weight(view) > _weight(known):
            found[name] = view
    return [found[name] for name in sorted(found)]


def _weight(view: AlertView) -> tuple[bool, bool, float]:
    """Of two states of a rule, which counts: while two versions of it are looked at, that which fires."""
    return view.current, view.current and view.firing, view.seen

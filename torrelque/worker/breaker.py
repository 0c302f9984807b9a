"""A circuit breaker: where a service is down, tasks wait for it instead of failing one after the other.

After some failures the worker pauses the queue, or the group, in Redis, so for all processes.  Then one task is handed
out from time to time, as a probe; when it succeeds, whoever had it resumes the queue.  (Michael Nygard, Release It!)
"""

import collections
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from torrelque import Duration, TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol.check import MIN_SECONDS, check_count, check_number, check_seconds

from .delivery import Delivery
from .retry import Reject, Retry
from .trace import summary

logger = logging.getLogger(__package__)


MANY = 1_000_000
"""What a worker counts at the most."""


@dataclass(frozen=True)
class Breaker:
    """When a worker pauses its queue.  Each worker counts what it sees itself.

    A `Reject`, a `Retry` and what becomes of lost or cancelled tasks do not count: they are no failures of a service.
    """

    failures: int = 5
    """So many failures in a row open the breaker, or, with ``share``, so many at least among the last ``window``."""
    share: float | None = None
    """Which share of the last ``window`` tasks must have failed, above 0 and up to 1; None asks for a row."""
    window: int = 20
    """How many tasks the share is of."""
    pause: Duration = 30
    """Time until a task is handed out as a probe, and between one probe and the next; in seconds, once it is made."""
    per: Literal['queue', 'group'] = 'queue'
    """What is paused: the task's queue, or its group alone; for a task without a group it is the queue."""
    errors: tuple[type[BaseException], ...] = (Exception,)
    """Exceptions that count."""

    def __post_init__(self) -> None:
        for name in ('failures', 'window'):
            if check_count(getattr(self, name), f'{name} of a breaker') > MANY:
                raise TorrelqueValueError(f'{name} of a breaker must be at most {MANY}, not {getattr(self, name)}')
        pause = check_seconds(self.pause, 'pause of a breaker', least=MIN_SECONDS, positive=True)
        object.__setattr__(self, 'pause', pause)
        if self.share is not None and not 0 < check_number(self.share, 'share of a breaker', 0) <= 1:
            raise TorrelqueValueError(f'share of a breaker must be above 0 and at most 1, not {self.share}')
        kinds = [self.errors] if isinstance(self.errors, type) else self.errors
        if isinstance(kinds, str) or not isinstance(kinds, Iterable):
            raise TorrelqueTypeError(f'errors of a breaker must be classes of exceptions, not {kinds!r}')
        kinds = tuple(kinds)
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise TorrelqueTypeError(f'errors of a breaker must be classes of exceptions, not {kind!r}')
        if not kinds:
            raise TorrelqueValueError('errors of a breaker must be some')
        object.__setattr__(self, 'errors', kinds)
        if self.share is not None and self.failures > self.window:
            raise TorrelqueValueError(f'{self.failures} failures are never among the last {self.window} tasks')
        if self.per not in ('queue', 'group'):
            raise TorrelqueValueError(f"per of a breaker must be 'queue' or 'group', not {self.per!r}")


@dataclass
class _Gate:
    """What was seen of one queue or group since it was last opened."""

    outcomes: 'collections.deque[bool]'
    row: int = 0
    failed: int = 0


class Gates:
    """The breaker at work: a gate for each queue or group that has failures."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._gates: dict[tuple[TorrelqueQueue, str | None], _Gate] = {}

    def _key(self, delivery: Delivery) -> tuple[TorrelqueQueue, str | None]:
        return delivery.queue, delivery.group if self._breaker.per == 'group' else None

    async def count(self, delivery: Delivery, error: BaseException | None) -> None:
        """Count a success, or a failure.  That the queue cannot be paused or resumed is logged only."""
        try:
            await (self._succeeded(delivery) if error is None else self._failed(delivery, error))
        except Exception as exc:
            logger.warning('the circuit breaker failed: %s', exc)

    async def _succeeded(self, delivery: Delivery) -> None:
        queue, group = key = self._key(delivery)
        gate = self._gates.get(key)
        if delivery.id.probe:
            self._gates.pop(key, None)
            # A pause that an operator has set meanwhile has no probes, and stays.
            if await queue.resume(group, probing=True):
                logger.warning('the probe of %s succeeded: it is not paused any more', _name(queue, group))
        elif gate is not None:
            if self._breaker.share is None:
                del self._gates[key]
            else:
                self._count(gate, False)

    async def _failed(self, delivery: Delivery, error: BaseException) -> None:
        if isinstance(error, (Retry, Reject)) or not isinstance(error, self._breaker.errors):
            return
        breaker = self._breaker
        queue, group = key = self._key(delivery)
        gate = self._gates.setdefault(key, _Gate(collections.deque(maxlen=breaker.window)))
        self._count(gate, True)
        few = gate.row if breaker.share is None else gate.failed
        full = breaker.share is None or gate.failed >= breaker.share * breaker.window
        if delivery.id.probe or few >= breaker.failures and full:
            del self._gates[key]
            why = summary(error)
            logger.warning('%s is paused, with a probe every %g s: %s', _name(queue, group), breaker.pause, why)
            await queue.pause(group, probe=breaker.pause)

    def _count(self, gate: _Gate, failed: bool) -> None:
        if len(gate.outcomes) == gate.outcomes.maxlen:
            gate.failed -= gate.outcomes[0]
        gate.outcomes.append(failed)
        gate.failed += failed
        gate.row = gate.row + 1 if failed else 0


def _name(queue: TorrelqueQueue, group: str | None) -> str:
    return f'queue {queue.name!r}' if group is None else f'group {group!r} of queue {queue.name!r}'

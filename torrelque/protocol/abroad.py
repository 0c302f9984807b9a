"""What is carried from queue to queue, of flows whose tasks are in several: who is told what, and what comes of it.

Both ways are gone at least once: what was collected is due again, unless it is confirmed; and whoever is told twice
does nothing the second time.
"""

import functools
import itertools
import logging
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from torrelque.error import reason_of

from .calls import Calls
from .carrying import Abroad, Errand, read_arrive, read_carried, read_collect, read_spread
from .replies import Outcome, read_outcomes
from .transition import Arg

logger = logging.getLogger('torrelque')

Carrying = Generator[tuple[str | None, list[Arg]], Any, Any]
Waiting = Generator[tuple[str | None, list[Arg]], Any, float | None]


def carry(calls: Calls) -> Waiting:
    """Carry what is due from this queue to others, and from those that were told, where that leads further.

    In how many seconds what could not be carried is to be tried again; None is nothing.  No error of a call ends it.
    """
    again: float | None = None
    queues = ['']
    while queues:
        queue = queues.pop()
        wait = yield from _Round(calls, queue, queues).go()
        if not queue:
            again = wait
    return again


class _Round:
    """All that one queue has for others now."""

    def __init__(self, calls: Calls, queue: str, queues: list[str]) -> None:
        self._calls = calls
        self._queue = queue
        """Whose errands they are; '' is the own one."""
        self._queues = queues
        """Queues that are to be looked at next."""
        self._failed = False

    def go(self) -> Waiting:
        """In how many seconds it is to be tried again; None is not by itself."""
        wait: float | None = None
        while True:
            collect = self._calls.collect()
            errands: list[Errand] = yield from self._ask(self._queue, 'collect', collect, read_collect, [])
            if not errands:
                return wait if self._failed else None
            arrived: list[tuple[Errand, bool]] = []
            errands.sort(key=lambda errand: (errand.queue, errand.goes_home))
            for (queue, goes_home), some in itertools.groupby(errands, lambda one: (one.queue, one.goes_home)):
                queue = queue or self._name
                tell = self._tell_home if goes_home else self._tell_host
                arrived += yield from tell('' if queue == self._calls.queue else queue, [*some])
            self._failed = self._failed or not all(done for _, done in arrived)
            receipts = self._calls.carried(arrived)
            wait = yield from self._ask(self._queue, 'carried', receipts, read_carried, None)

    # Parts

    @property
    def _name(self) -> str:
        return self._queue or self._calls.queue

    def _ask(self, queue: str, name: str, args: list[Arg], read: Any, failed: Any) -> Carrying:
        """Call a script of a queue; what its reply says, or ``failed``."""
        reply = yield Abroad(name, queue), args
        try:
            if isinstance(reply, Exception):
                raise reply
            return read(reply)
        except Exception as exc:
            what = 'queue %r: the call %s of a flow over several queues failed, and is made again later: %s'
            logger.warning(what, self._calls.name_of(queue or self._calls.queue), name, reason_of(exc))
            return failed

    def _look_at(self, queue: str) -> None:
        if queue not in self._queues and queue != self._queue:
            self._queues.append(queue)

    def _tell_home(self, queue: str, errands: Sequence[Errand]) -> Carrying:
        """Have the home of tasks know how they fare; which of these have arrived."""
        words = self._calls.arrive(errands, self._name)
        told = yield from self._ask(queue, 'arrive', words, read_arrive, None)
        if told is not None:
            out = told.out
            if told.spread:
                out = yield from self._spread(queue)
            if out:
                self._look_at(queue)
        return [(errand, told is not None) for errand in errands]

    def _spread(self, queue: str) -> Carrying:
        while True:
            done = yield from self._ask(queue, 'spread', self._calls.spread(), read_spread, None)
            if done is None or not done.left:
                return done is None or done.out

    def _tell_host(self, queue: str, errands: Sequence[Errand]) -> Carrying:
        """Have another queue take tasks in, or take them back, or try them again; which of these have arrived."""
        read = functools.partial(read_outcomes, 'host', count=len(errands))
        words = self._calls.host(errands, self._name)
        outcomes: list[Outcome] = yield from self._ask(queue, 'host', words, read, ['failed'] * len(errands))
        arrived = {errand: outcome in ('ok', 'gone') for errand, outcome in zip(errands, outcomes, strict=True)}
        for what in ('cancel', 'redrive'):
            some = [e for e, outcome in zip(errands, outcomes, strict=True) if outcome == 'ok' and e.what == what]
            if some:
                read_those = functools.partial(read_outcomes, what, count=len(some))
                done = yield from self._ask(queue, what, self._words_for(what, some), read_those, None)
                arrived.update(dict.fromkeys(some, done is not None))
        if any(errand.what != 'host' for errand in errands) or 'gone' in outcomes:
            self._look_at(queue)
        refused = [e for e, outcome in zip(errands, outcomes, strict=True) if 'duplicate' in outcome]
        if refused:
            why = f'!f queue {self._calls.name_of(errands[0].queue)!r} has another task of this id'.encode()
            yield from self._tell_home(self._queue, [e._replace(what='ended', body=why) for e in refused])
            arrived.update(dict.fromkeys(refused, True))
        return [*arrived.items()]

    def _words_for(self, what: str, errands: Iterable[Errand]) -> list[Arg]:
        ids = [errand.task_id for errand in errands]
        if what == 'redrive':
            return self._calls.redrive(ids)
        return [word for task_id in ids for word in (task_id, self._calls.mark(), '')]

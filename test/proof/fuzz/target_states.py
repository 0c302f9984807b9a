"""State hashes, records and beats with any fields: what stands there is told, or that it cannot be read; it harms
nobody."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from proof.fuzz import server
from proof.fuzz.feed import Feed
from proof.fuzz.judging import Refused, attempt, drive, strict_json
from support.made import MadeQueue
from torrelque import TorrelqueError, TorrelqueLimit, TorrelqueTaskState, TorrelqueTaskStatus
from torrelque.codec import JSON
from torrelque.operate import crew, faults, records
from torrelque.operate.viewing import _FIELDS, item_of, view_of
from torrelque.protocol.replies import STATE_FIELDS, read_limit, read_state
from torrelque.protocol.scheduling import read_schedules
from torrelque.sharded.shards import read_shape

PLACES = (None, b'pending', b'working', b'delayed', b'dead', b'waiting', b'priority')
FINGERPRINT = re.compile('[0-9a-f]{8}')


class Told(MadeQueue):
    """A queue that is asked nothing but what was to be answered."""

    serialiser = JSON


def states(feed: Feed) -> None:
    """The state of a task, as users and as operators see it."""
    said = dict(zip(STATE_FIELDS, server.fields(feed), strict=True))
    state = attempt(lambda: read_state([*said.values()], JSON, 'one'), TorrelqueError, named="task 'one'")
    if isinstance(state, TorrelqueTaskState):
        _judge(state, said)
    view = _view(feed, said)
    if isinstance(state, TorrelqueTaskState) and view.broken is None and view.status is not None:
        # Of numbers that are as the scripts write them, both say the same.
        assert (view.status, view.attempt, view.requeue_count) == (state.status, state.dequeue_count,
            state.requeue_count)
        assert view.priority == state.priority and view.max_attempts == state.max_attempts


def _judge(state: TorrelqueTaskState, said: dict[str, bytes | None]) -> None:
    assert isinstance(state.status, TorrelqueTaskStatus)
    for name, value in state._asdict().items():
        if isinstance(value, float) and name not in server.VALUES:
            assert not math.isnan(value), f'{name} is no number'
    assert len(state.history) <= (said['history'] or b'').count(b'\n') + 1
    assert (state.error is None) == (said['error'] is None)


def _view(feed: Feed, said: dict[str, bytes | None]) -> Any:
    payload = None if feed.flag() else server.value(feed)
    size = -1 if payload is None else len(payload) + feed.below(2)
    place, score, ttl = feed.pick(PLACES), feed.pick((None, server.numeral(feed))), feed.pick((None, -1, 60,
        feed.number()))
    more = [said.get(name, feed.pick((None, server.numeral(feed)))) for name in _FIELDS]
    item = item_of([feed.below(2), place, score, ttl, size, payload, *more])
    keys = feed.pick(((), ('tasks',), ('working',)))
    queue: Any = Told('q')
    room, function = feed.pick((0, 10**6)), feed.flag()
    view = view_of(queue, 'one', 1.8e9, item, worker='w', room=room, function=function, keys=keys)
    strict_json(view.as_json())
    view.error_line, str(view)
    return view


# What else is in hashes of a queue


def _beat(feed: Feed) -> list[Any]:
    kind = feed.pick((b'heart', b'text', b'none', b'broken'))
    name, score = server.word(feed), feed.pick((None, server.numeral(feed)))
    if kind == b'heart':
        fields = [feed.pick((None, server.numeral(feed))) for _ in range(7)]
        fields[2] = feed.pick((None, b'running', b'stopping', server.word(feed)))
        return [name, score, kind, *fields, _health(feed)]
    return [name, score, kind, _health(feed)] if kind == b'text' else [name, score, kind]


def _health(feed: Feed) -> bytes:
    if feed.byte() % 4 == 0:
        return server.value(feed)
    names = ('seen', 'started', 'concurrency', 'busy', 'lag', 'claimed', 'hanging', 'state', 'host', 'pid', 'version',
             'queues', 'functions', 'succeeded', 'failed', 'dead', 'lost', 'rss', 'functions_cut')  # fmt: skip
    health: dict[str, Any] = {name: feed.json(1) for name in feed.some(lambda: feed.pick(names))}
    task = {name: feed.json(1) for name in feed.some(lambda: feed.pick(('id', 'queue', 'name', 'group', 'attempt',
        'since')))}
    health['running'] = [task, feed.json(1)] if feed.flag() else feed.json(1)
    return json.dumps(health).encode()


def beats(feed: Feed) -> None:
    """Beats of workers."""
    hearts = feed.some(lambda: _beat(feed), 3)
    queue = _asked(feed, [[1_800_000_000_000, len(hearts), feed.below(3), feed.below(2), *hearts]])
    for worker in drive(crew.read_workers(queue)):
        strict_json(worker.as_json())
        assert worker.state in ('new', 'running', 'stopping', 'stopped', 'stuck', 'lost'), worker.state
        assert worker.concurrency >= 0 and worker.busy >= 0 and math.isfinite(worker.seen)
        assert worker.state not in ('stuck', 'lost') or worker.why


def history(feed: Feed) -> None:
    """Records of minutes and hours, and totals."""
    rows = [[feed.below(8), [one for pair in _record(feed) for one in pair]] for _ in range(feed.below(3))]
    queue = _asked(feed, [[0, 0, *rows]])
    since = feed.pick((60.0, 36_000.0))
    found = drive(records.read_history(queue, since))
    assert len(found) == len(rows)
    for record in found:
        strict_json(record.as_json())
        assert len(record.run) == len(record.wait) == 16
        _judge_totals([totals for _, totals in record.functions])
    views = drive(records.read_functions(_asked(feed, [[0, 0, *rows]]), 36_000.0))
    _judge_totals([view.totals for view in views])
    for view in views:
        strict_json(view.as_json())
        assert view.p50 is None or view.p95 is None or view.p50 <= view.p95


def _judge_totals(some: Sequence[Any]) -> None:
    for totals in some:
        numbers = (totals.succeeded, totals.failed, totals.dead, totals.lost, totals.run_time)
        assert all(0 <= number < math.inf for number in numbers), totals


def _record(feed: Feed) -> list[tuple[bytes, bytes]]:
    def pair() -> tuple[bytes, bytes]:
        name = feed.pick((b'*run', b'*wait', b'*sizes', b'=one', b'=' + server.word(feed), server.word(feed)))
        kind = feed.byte() % 4
        if kind == 0:
            return name, server.value(feed)
        numbers = [feed.number() if kind == 1 else feed.byte() for _ in range(feed.below(24))]
        return name, json.dumps(numbers).encode()

    return [*dict(feed.some(pair)).items()]


def _asked(feed: Feed, replies: list[Any]) -> Any:
    """A queue whose scripts answer so."""

    class Queue(Told):
        shards = ()

        def __init__(self) -> None:
            super().__init__('q')
            self.home = self
            self.keys = {'pending': 'p', 'never': 'n'}

        async def command(self, *words: Any) -> Any:
            return replies[0]

    return Queue()


def hashes(feed: Feed) -> None:
    """Limits, schedules, maps of shards, errors of dead tasks."""
    limit = server.limits(feed)
    found = attempt(lambda: read_limit(limit), TorrelqueError, named='limits cannot be read')
    if isinstance(found, TorrelqueLimit):
        for one in (found.concurrency, found.rate if not isinstance(found.rate, tuple) else found.rate[1]):
            assert one is None or not math.isnan(one), found
    for schedule in read_schedules([b'ok', server.schedule(feed)], JSON):
        assert not isinstance(schedule, TorrelqueError) or 'the schedule ' in str(schedule)
    text = server.value(feed)
    shape = attempt(lambda: read_shape(text, 'q'), TorrelqueError, named="queue 'q'")
    assert isinstance(shape, Refused) or shape[0].tags
    error = feed.pick(('', 'Traceback (most recent call last):\n',
        '  + Exception Group ')) + feed.text(200) + feed.text(200)
    fault = faults.find_fault(error)
    assert FINGERPRINT.fullmatch(fault.fingerprint) and len(fault.message) <= 400
    assert faults.find_fault(error) == fault

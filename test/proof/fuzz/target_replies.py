"""Replies of the server: what reads one gives values, or says that it is none of this package."""

from __future__ import annotations

from typing import Any

from proof.fuzz import server
from proof.fuzz.feed import Feed
from proof.fuzz.judging import Refused, attempt
from torrelque import TorrelqueError
from torrelque.codec import JSON
from torrelque.protocol import flows, growing, schedules, steps
from torrelque.protocol.calls import Calls
from torrelque.protocol.carrying import Abroad
from torrelque.protocol.replies import (
    READERS,
    STATE_FIELDS,
    Claimed,
    is_keydb,
    is_ring,
    outcome_error,
    read_outcome,
    read_outcomes,
    settled,
)
from torrelque.protocol.table import ROWS, TABLE
from torrelque.protocol.words import UnreadableError

QUEUE = 'of the target'
MOST = 40
"""Replies that a verb is given at the most: one that is told each time that there is more goes on for ever."""
SCRIPTS = [row.name for row in TABLE]
SERIALISED = ('tell', 'schedules')
NAMED = {'group': 'cannot be read'}
"""What errors of a reader say: of a group, maybe that its limits are none."""


def replies(feed: Feed) -> None:
    """One reply, and its reader."""
    name = feed.pick(SCRIPTS)
    reply = server.reply(feed, name)
    if name == 'state':
        count, width = feed.below(4), feed.pick((None, len(STATE_FIELDS), 2))
        found = attempt(lambda: READERS[name](reply, count, width), UnreadableError, named='to state')
        assert isinstance(found, Refused) or 1 <= len(found) <= count
    elif ROWS[name].outcomes:
        _read_outcomes(feed, name, reply)
    else:
        more = [JSON] if name in SERIALISED else []
        found = attempt(lambda: READERS[name](reply, *more), TorrelqueError, named=NAMED.get(name, f'to {name}'))
        if isinstance(found, Claimed):
            _judge_claim(found, reply)
    is_keydb(reply), is_ring(reply)
    done = attempt(lambda: read_outcome(reply), Exception)
    assert isinstance(done, (bool, Refused))
    assert not isinstance(done, Refused) or isinstance(done.__cause__, TorrelqueError) or done.__cause__ is reply


def _read_outcomes(feed: Feed, name: str, reply: Any) -> None:
    count = len(reply) if isinstance(reply, list) and feed.byte() % 4 else feed.below(4)
    found = attempt(
        lambda: read_outcomes(name, reply, count, QUEUE), UnreadableError, named=(f'to {name}', repr(QUEUE))
    )
    if isinstance(found, Refused):
        return
    assert len(found) == count
    for outcome in found:
        word = outcome if isinstance(outcome, str) else outcome[0]
        assert word in ROWS[name].outcomes, outcome
        error = outcome_error(outcome, 'one', QUEUE)
        done = attempt(lambda outcome=outcome: settled(outcome, 'one', QUEUE), TorrelqueError, named=repr(QUEUE))  # type: ignore[misc]
        assert isinstance(done, Refused) == (error is not None), outcome


def _judge_claim(found: Claimed, reply: Any) -> None:
    items = reply[6:]
    assert len(found.tasks) + len(found.foreign) == len(items) // 4
    mine = iter(found.tasks)
    for word, payload, attempts, length in zip(*(items[k::4] for k in range(4)), strict=True):
        if any(word == one for one, _ in found.foreign):
            continue
        task_id, data = next(mine)
        assert (task_id.encode(), data, task_id.attempt) == (word, payload, attempts)
        assert task_id.token.startswith(f'{attempts}-') and task_id.timeout == length / 1000


# Verbs of several calls


def _verbs(calls: Calls) -> list[Any]:
    task_id = 'one.two'
    return [
        lambda: steps.get_task_state(calls, task_id),
        lambda: steps.get_queue_stats(calls),
        lambda: steps.get_group_stats(calls, 'g'),
        lambda: steps.get_limits(calls),
        lambda: steps.set_limit(calls, None, 1, None),
        lambda: steps.redrive(calls, [], None),
        lambda: steps.redrive(calls, ['one', 'two'], None),
        lambda: steps.sweep(calls),
        lambda: steps.take_deaths(calls, 3, 60),
        lambda: steps.GroupScan(calls).read(),
        lambda: flows.get_task_state(calls, task_id),
        lambda: flows.get_flow(calls, 'one'),
        lambda: flows.get_results(calls, 'one', [task_id, 'one.x']),
        lambda: flows.OutcomeScan(calls, 'one').read(),
        lambda: flows.find_heir(calls, task_id, None),
        lambda: flows.get_value(calls, 'one', 'key'),
        lambda: schedules.get_schedule(calls, 'daily'),
        lambda: schedules.ScheduleScan(calls, '').read(),
        lambda: schedules.fire(calls, 'daily', []),
        lambda: schedules.hold_schedule(calls, 'daily', True),
        lambda: growing.open_groups(calls),
        lambda: growing.read_inherited(calls),
        lambda: growing.take_delayed(calls),
        lambda: growing.read_stage(calls),
        lambda: growing.left(calls, 'x'),
    ]


def verbs(feed: Feed) -> None:
    """A verb, and the replies to all calls that it makes."""
    calls = Calls(QUEUE, JSON, None)
    walk: steps.Walk[Any] = steps.Walk(feed.pick(_verbs(calls))())
    reply: Any = None
    for _ in range(MOST):
        going = attempt(lambda reply=reply: walk.go_on(reply), TorrelqueError)  # type: ignore[misc]
        if isinstance(going, Refused) or not going:
            return
        if isinstance(walk.name, Abroad) and feed.byte() % 8 == 0:
            reply = TorrelqueError('the other queue is away')
        else:
            reply = server.answer(feed, walk.args) if walk.name is None else server.reply(feed, str(walk.name))

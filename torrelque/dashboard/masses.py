"""Bulk acts of the dashboard: tasks of a selection are counted first, and then only those are changed."""

import asyncio
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import redis.exceptions

from torrelque import TorrelqueError, TorrelqueValueError
from torrelque.operate import Operator, Outcome, Plan, Selection, TaskView

from .asking import Ask, Do, Kind, name_tasks
from .doing import Doing
from .fields import Field, read_pace, read_reason
from .links import Query, link
from .redacting import DOTS
from .selecting import selection_of
from .visit import Visit
from .wording import number

COUNTED = 1.5
"""s for which tasks are counted at the most, before somebody is asked."""
EXAMPLES = 5
"""Tasks that are shown."""
SOUGHT = 0.5
"""s for which they are looked for."""
PAYLOAD = 4096
"""Bytes of their payloads, which tell of which function they are calls."""
UNCOUNTED = 10**12
"""Tasks that an act is about at the most, where they were not counted to the end."""

PLACES = {
    'redrive': ('dead',), 'cancel': ('pending', 'delayed'), 'requeue': ('working',), 'bury': ('working',),
}  # fmt: skip
"""Where the tasks of an act are, where nothing else is said."""
AFTER = {'redrive': 'pending', 'requeue': 'pending', 'bury': 'dead'}
"""Where they are after it."""
REASONS = {
    'not_dead': 'not dead (any more)', 'not_working': 'not worked on (any more)', 'final': 'finished',
    'cancelled': 'cancelled', 'unknown': 'not known to the queue', 'broken': 'spoilt',
    'no_text': 'of an id that is no text', 'lease_lost': 'given back, or with somebody else now',
    'changed': 'not what was selected any more',
}  # fmt: skip
"""Why a task is not changed, in words."""
NOTES = {
    'redrive': 'Their attempts begin anew.',
    'cancel': 'They do not run any more; a worker that has one in hand is told.',
    'requeue': 'They are taken away from their workers, and are pending again.',
    'bury': 'They are taken away from their workers, and are dead until they are redriven.',
}


# Asking


async def ask(kind: Kind, visit: Visit) -> Ask:
    """Count the tasks, for a moment at the most."""
    selection, queue = selection_of(visit), visit.queue.name
    plan = Plan()
    outcome, whole = await _count(kind, visit, selection, plan)
    fit = outcome.matched - sum(count for _, count in outcome.refused)
    examples = await _examples(kind, visit, selection, plan) if outcome.matched else []
    flow = _flow_of(selection, examples)
    if flow is not None:
        return _ask_of_flow(kind, visit, flow, outcome)
    notes = [NOTES[kind.name]] if fit else []
    if not whole:
        none = '' if fit else ', and none of them matches'
        notes.insert(0, f'{number(outcome.seen)} tasks were looked at{none}; those that follow are meant as well.')
    elif selection.ids is None and outcome.seen > outcome.matched:
        notes.insert(0, f'They are {number(outcome.matched)} of {number(outcome.seen)} that were looked at.')
    notes += [f'{number(count)} {"is" if count == 1 else "are"} left out: {REASONS.get(why, why)}.'
              for why, count in outcome.refused]  # fmt: skip
    if fit and _may_have_flows(kind, selection, examples, outcome):
        which = 'are dead' if kind.name == 'redrive' else 'have not ended'
        notes.append(f'Of a flow, all tasks that {which} are meant.')
    title = f'{kind.label} {name_tasks(selection, fit or None, PLACES[kind.name], not whole)}'
    if not fit and whole:
        none = name_tasks(selection, 0, PLACES[kind.name]).replace('0 ', 'no ', 1)
        title = f'There {"are" if outcome.matched != 1 else "is"} {none} to {kind.label.lower()}'
    return Ask(
        title, notes, bool(fit) or not whole, tuple(map(visit.shield.task, examples)), outcome,
        fields=None if fit != 1 or not whole else [field.name for field in kind.fields if field.name != 'rate'],
        terms={'begun': repr(plan.begun[queue]), 'matched': str(outcome.matched) if whole else ''}
        if selection.ids is None and queue in plan.begun else {},
    )  # fmt: skip


async def _count(kind: Kind, visit: Visit, selection: Selection, plan: Plan) -> tuple[Outcome, bool]:
    """What a dry run has counted, and whether it came to the end."""
    last = Outcome(kind.name, visit.queue.name, 0, 0, 0, (), True, False, 0.0)

    def keep(outcome: Outcome) -> None:
        nonlocal last
        last = outcome

    call = getattr(visit.operator, kind.name)
    try:
        counting = call(selection, dry_run=True, plan=plan, on_progress=keep, queue=visit.queue.name)
        return await asyncio.wait_for(counting, COUNTED), True
    except asyncio.TimeoutError:
        return last, False


async def _examples(kind: Kind, visit: Visit, selection: Selection, plan: Plan) -> list[TaskView]:
    """Some of the tasks, as far as they are found soon."""
    queue, found = visit.queue, list[TaskView]()
    if known := [one for ids in (plan.ids or {}).values() for one in ids]:
        selection = Selection(ids=known[:EXAMPLES])
    elif selection.status is None:
        selection = replace(selection, status=PLACES[kind.name][0])

    async def read() -> None:
        async for task in Operator(queue).tasks(selection, most=EXAMPLES, payload=PAYLOAD):
            found.append(task)

    with suppress(asyncio.TimeoutError, TorrelqueError, redis.exceptions.RedisError):
        await asyncio.wait_for(read(), SOUGHT)
    return found


def _flow_of(selection: Selection, examples: list[TaskView]) -> TaskView | None:
    """The flow, where one is named that has not ended."""
    if selection.ids is None or len({*selection.ids}) != 1 or len(examples) != 1:
        return None
    return examples[0] if examples[0].total is not None and examples[0].place == 'waiting' else None


def _may_have_flows(kind: Kind, selection: Selection, examples: list[TaskView], outcome: Outcome) -> bool:
    """Whether there is a flow among the tasks, or may be one among those that are no examples."""
    if kind.name not in ('redrive', 'cancel') or selection.status not in (None, 'waiting'):
        return False
    more = outcome.matched > len(examples) and (selection.ids is not None or selection.status == 'waiting')
    return more or any(task.total is not None for task in examples)


def _ask_of_flow(kind: Kind, visit: Visit, flow: TaskView, outcome: Outcome) -> Ask:
    count = (flow.dead if kind.name == 'redrive' else flow.left) or 0
    which = 'dead' if kind.name == 'redrive' else 'left'
    possible = kind.name in ('redrive', 'cancel') and (count > 0 or kind.name == 'cancel')
    noun = 'task' if count == 1 else 'tasks'
    title = f'{kind.label} flow {flow.id}: {number(count)} {noun} that {"is" if count == 1 else "are"} {which}'
    note = 'Its cleanups run all the same.' if kind.name == 'cancel' else NOTES[kind.name]
    notes = [note] if possible else ['There is nothing of it to do this to.']
    return Ask(title, notes, possible, (visit.shield.task(flow),), outcome, fields=())


# Doing


def make(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    """Act on the tasks that were counted, as the form has it; on all of the selection, where it has nothing of that.
    """
    selection, queue = selection_of(visit), visit.queue.name
    plan, total = _plan_of(selection, queue, form)
    names = {'reason': 'error'}
    options = {names.get(name, name): value for name, value in given.items() if value is not None}
    if selection.ids is not None:
        total = len({*selection.ids})

    async def do(doing: Doing, operator: Operator) -> None:
        doing.total, doing.ids = total, [*dict.fromkeys(selection.ids or ())]

        def keep(outcome: Outcome) -> None:
            doing.outcome = outcome

        call = getattr(operator, kind.name)
        doing.outcome = await call(selection, on_progress=keep, plan=plan, **options)
        place = AFTER.get(kind.name) or selection.status or PLACES[kind.name][0]
        doing.links = [(f'{place.capitalize()} tasks', link('tasks', q=queue, place=place))]
        if selection.error is not None:
            doing.links.append(('Errors', link('errors', q=queue)))

    # The title is for all who look.
    told = selection if selection.text is None else replace(selection, text=DOTS)
    return f'{kind.label} {name_tasks(told, total, PLACES[kind.name])}', do


def _plan_of(selection: Selection, queue: str, form: Query) -> tuple[Plan | None, int | None]:
    """What was counted, as the form tells it, and how many these were."""
    begun, matched = form.get('begun', ''), form.get('matched', '')
    if selection.ids is not None or not begun:
        return None, None
    try:
        instant, total = float(begun), int(matched) if matched else None
    except ValueError:
        instant, total = math.nan, None
    if not math.isfinite(instant) or total is not None and not 0 <= total <= UNCOUNTED:
        raise TorrelqueValueError('the form does not tell what was counted')
    return Plan({queue: instant}, None, UNCOUNTED if total is None else total), total


RATE = Field('rate', 'At most', read_pace, '50/s', 'Tasks a second or a minute, such as 100/m; as fast as is good for '
             'the server, if nothing is said.')  # fmt: skip
REASON = Field('reason', 'Why', read_reason, '', 'Stands with each task as its error.')

MASSES = (
    Kind('redrive', 'Redrive', 'redrive', 'tasks', ask, make, (RATE,), done='redriven'),
    Kind('requeue', 'Requeue', 'requeue', 'tasks', ask, make, (RATE,), done='requeued'),
    Kind('cancel', 'Cancel', 'cancel', 'tasks', ask, make, (RATE,), True, 'cancelled'),
    Kind('bury', 'Bury', 'bury', 'tasks', ask, make, (REASON, RATE), True, 'buried'),
)

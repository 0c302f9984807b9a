"""What the dashboard can do: what an act is, what it says before it is done, and how tasks that are meant are named."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torrelque.operate import Operator, Outcome, Selection, TaskView

from .doing import Doing
from .fields import Field
from .links import Query, link
from .selecting import chosen
from .visit import Visit
from .wording import duration, number, shorten

Do = Callable[[Doing, Operator], Awaitable[None]]
"""Does what was asked for, by an operator of the queue that is meant, and tells the act on its way how far it is."""


class Ask(NamedTuple):
    """What stands on the page that asks, before an act is done."""

    title: str
    """What will be done on what, in words."""
    notes: Sequence[str] = ()
    """More of it, a sentence each."""
    possible: bool = True
    """Whether there is anything to do."""
    examples: Sequence[TaskView] = ()
    outcome: Outcome | None = None
    """What a dry run has counted."""
    present: Mapping[str, str] = {}
    """What stands in the fields of the form at first."""
    fields: Sequence[str] | None = None
    """Names of those that make sense here; None is all."""
    terms: Mapping[str, str] = {}
    """What the form carries besides, for the act to be about what was counted."""


class Kind(NamedTuple):
    """An act."""

    name: str
    label: str
    """A short verb, on the button."""
    grant: str
    """What a visitor needs; '' is that of another act, see `torrelque.dashboard.acting.grant_of`."""
    about: str
    """'tasks', 'queue', 'group', 'task', 'schedule' or 'act'."""
    ask: Callable[['Kind', Visit], Awaitable[Ask]]
    """What will be done; reads only."""
    make: Callable[['Kind', Visit, Mapping[str, Any], Query], tuple[str, Do]]
    """Of a visit, what was given in fields, and the form: a title, and what does it.  It raises `TorrelqueError` where
    that cannot be meant, and sends nothing."""
    fields: tuple[Field, ...] = ()
    danger: bool = False
    """Whether there is no way back."""
    done: str = ''
    """What tasks are then."""


# Words


def name_tasks(selection: Selection, count: int | None, places: Sequence[str], at_least: bool = False) -> str:
    """Tasks of a selection in words, such as '312 dead tasks of function mail.send with error 4f1a9c02'."""
    ids = selection.ids
    if ids is not None and len(ids) == 1 and count in (None, 1):
        return f'task {shorten(ids[0], 80)}'
    status = selection.status or (' or '.join(places) if ids is None else '')
    much = 'all' if count is None else f'{"at least " if at_least else ""}{number(count)}'
    noun = 'task' if count == 1 else 'tasks'
    words = [much, status, f'chosen {noun}' if ids is not None else noun, *_filters(selection)]
    return ' '.join(filter(None, words))


def _filters(selection: Selection) -> list[str]:
    words = []
    if selection.function is not None:
        words.append(f'of function {selection.function}' if selection.function else 'that are no call of a function')
    if selection.group is not None:
        words.append(f'of group {selection.group}' if selection.group else 'without a group')
    if selection.error is not None:
        words.append(f'with error {shorten(selection.error, 200)}')
    if selection.text is not None:
        words.append(f'with “{shorten(selection.text, 200)}” in the payload')
    for name, word in (('older', 'longer'), ('newer', 'shorter')):
        if isinstance(seconds := getattr(selection, name), (int, float)):
            words.append(f'that are there for {duration(seconds)} or {word}')
    if selection.attempts is not None:
        words.append(f'after {number(selection.attempts)} attempts or more')
    return words


def named_queue(visit: Visit, group: str | None = None) -> str:
    """A queue, or a group of it, in words; the name of the queue is left out where there is only one."""
    name = visit.queue.name
    if group is None:
        return f'queue {name}'
    return f'group {group}' + (f' of queue {name}' if len(visit.site.queues) > 1 else '')


def group_of(visit: Visit) -> str | None:
    """The group that is meant; None is the queue itself."""
    return visit.text('group') or visit.text('name') or None


# Addresses


def way_back(kind: Kind, visit: Visit) -> str:
    """Where whoever wants none of it goes: to what the act is about."""
    query, name = visit.query, visit.query.get('q')
    ids = chosen(query)
    if kind.about == 'act':
        return link('done', q=name, number=query.get('number'))
    if kind.about == 'schedule':
        return link('schedule', q=name, name=query.get('name') or query.get('schedule'))
    if kind.about == 'group':
        return link('queue', q=name) if (group := group_of(visit)) is None else link('group', q=name, name=group)
    if len(ids) == 1:
        return link('task', q=name, id=ids[0])
    if kind.about == 'tasks':
        kept = {one: query[one] for one in query if one not in ('act', 'id', 'status')}
        return link('tasks', {**kept, 'place': query.get('place') or query.get('status')})
    return link('queue', q=name)

"""What a command line that a reason tells is on these pages: an act that is asked for, or a page that tells more."""

import shlex
from collections.abc import Callable
from typing import NamedTuple

from .links import link

ACTS = {
    'resume': ('pause', 'Resume'), 'sweep': ('sweep', 'Sweep'), 'redrive': ('redrive', 'Redrive'),
    'cancel': ('cancel', 'Cancel'), 'requeue': ('requeue', 'Requeue'), 'limit': ('limit', 'Change the limit'),
}  # fmt: skip
"""Verbs that change something: the grant, and what the button says."""
PAGES = {
    'tasks': ('tasks', 'Tasks'), 'groups': ('groups', 'Groups'), 'workers': ('workers', 'Workers'),
    'errors': ('errors', 'Errors'), 'schedules': ('schedules', 'Schedules'),
}  # fmt: skip
"""Verbs that only tell: the page, and what it is called."""


class Way(NamedTuple):
    """A link that is as good as a command line."""

    label: str
    href: str
    acts: bool


def way_of(command: str | None, queue: str, may: Callable[[str], bool]) -> Way | None:
    """The link for a command line; None where these pages have none, or the visitor may not."""
    try:
        words = shlex.split(command or '')[1:]
    except ValueError:
        return None
    if not words:
        return None
    verb, options, operands = words[0], *_read(words[1:])
    query: dict[str, str] = {'q': options.pop('q', queue)}
    group = options.pop('group', None)
    if verb in ('why', 'show'):
        if operands:
            return Way('More of it', link('task', query, id=operands[0]), False)
        return Way('Why', link('queue', query) if group is None else link('group', query, name=group), False)
    if verb in PAGES:
        page, label = PAGES[verb]
        place = operands[0] if page == 'tasks' and operands else options.get('status')
        return Way(label, link(page, query, place=place), False)
    if verb not in ACTS or not may(ACTS[verb][0]):
        return None
    _, label = ACTS[verb]
    if verb == 'limit' and operands:
        group = operands.pop()
    if group is not None:
        query['name' if verb in ('resume', 'limit') else 'group'] = group
        label = f'{label} {group}' if verb == 'resume' else label
    if operands:
        query['id'] = operands[0]
    return Way(label, link('ask', {'act': verb, **query, **options}), True)


def _read(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options with their values, and what stands between them."""
    options: dict[str, str] = {}
    operands: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == '--':
            operands += rest
        elif word.startswith('--'):
            name, equals, value = word[2:].partition('=')
            options[name] = value if equals else next(rest, '')
        elif word.startswith('-q'):
            options['q'] = word[2:] or next(rest, '')
        else:
            operands.append(word)
    return options, operands

"""Pages as HTML, whole or the parts of them that are live; and the ways from one to the others."""

from typing import Any, NamedTuple

from torrelque.operate import Overview

from .links import link
from .live import Parts
from .page import Answer, Page
from .site import Site
from .visit import Visit


class Tab(NamedTuple):
    """A way to another page."""

    name: str
    title: str
    href: str
    much: int = 0
    """How many there are behind it."""
    kind: str = ''
    """What that says: 'bad', or ''."""


def render(site: Site, page: Page | None, visit: Visit | None, answer: Answer) -> str:
    """A page; None is one that says what is wrong."""
    template = 'error.html' if page is None else page.template
    return site.templates.get_template(template).render(_context(site, page, visit, answer))


def render_parts(site: Site, page: Page, visit: Visit, answer: Answer) -> Parts:
    """The parts of a page that are live, by the ids of their elements."""
    template = site.templates.get_template(page.template)
    context = template.new_context(_context(site, page, visit, answer))
    blocks = {**site.templates.get_template('base.html').blocks, **template.blocks}
    found = {name: block for name, block in blocks.items() if name.startswith('live')}
    return {name.replace('_', '-'): ''.join(block(context)) for name, block in found.items()}


def tabs_of(visit: Visit, head: Any) -> list[Tab]:
    """Ways to other pages: those of the queue that is meant, or of all."""
    name = visit.name if len(visit.site.queues) > 1 else None
    found = [Tab('', 'Overview', link(''))]
    if visit.name is not None:
        dead, groups, schedules = 0, 0, 0
        if isinstance(head, Overview):
            dead, groups, schedules = head.dead, head.groups, head.schedules
        found += [
            Tab('queue', 'Queue', link('queue', q=name)),
            Tab('tasks', 'Tasks', link('tasks', q=name)),
            Tab('errors', 'Errors', link('errors', q=name), dead, 'bad'),
            Tab('groups', 'Groups', link('groups', q=name), groups),
            Tab('flows', 'Flows', link('flows', q=name)),
            Tab('schedules', 'Schedules', link('schedules', q=name), schedules),
            Tab('history', 'History', link('history', q=name)),
        ]
    return [*found, Tab('workers', 'Workers', link('workers', q=name)), Tab('acts', 'Acts', link('acts', q=name))]


def _context(site: Site, page: Page | None, visit: Visit | None, answer: Answer) -> dict[str, Any]:
    given: dict[str, Any] = {'head': None, 'now': 0.0, **answer.values, **answer.view}
    tabs = [] if visit is None else tabs_of(visit, given['head'])
    return {**given, 'site': site, 'visit': visit, 'page': page, 'tabs': tabs}

"""One request of a visitor: what is asked for, of which queue, and what may be seen; all pages work with it."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from typing import TypeVar

from torrelque import TorrelqueQueue, TorrelqueServerError, TorrelqueValueError
from torrelque.operate import (
    Act,
    AlertView,
    Errors,
    Finding,
    Flows,
    FlowView,
    FunctionView,
    Groups,
    GroupView,
    Operator,
    Overview,
    Page,
    Reason,
    Record,
    Schedules,
    ScheduleView,
    WorkerView,
    read_alerts,
)
from torrelque.operate.parts import AwayError, home_of
from torrelque.operate.records import read_functions

from .access import Visitor
from .links import Query
from .past import MINUTES
from .reads import Trouble
from .redacting import Shield
from .site import Site
from .surveying import KEPT, pick

T = TypeVar('T')

OVERVIEW, WORKERS, ERRORS, GROUPS, RECORDS, ACTS = 0.9, 1.9, 10.0, 30.0, 10.0, 1.9
SCHEDULES, FLOWS, FLOW, STALLED = 1.9, 1.9, 0.9, 20.0
ALERTS = 4.9
MANY_ERRORS, ORPHANS = 60.0, 10.0
"""How old (s) answers may be."""
TOP_ERRORS, TOP_GROUPS = 20.0, 60.0
"""The same, where only the first of them are shown, on a page that many have open all day."""
FEW_ERRORS = 1000
"""Of so many tasks errors are read again and again; of more, less often."""
ORPHANED = 250
"""Orphaned tasks that are looked for at a time."""
PATIENCE, LONG_PATIENCE = 0.05, 4.0
"""s that a page waits for what takes long, before it is shown without it; and its JSON."""
LENGTHS = {'1h': 3600.0, '8h': 8 * 3600.0, '3d': 3 * 86400.0, '14d': 14 * 86400.0}
"""Times of which there is a history, in seconds."""
LARGE = 1000
"""Tasks of a flow up to which all of it is looked at."""
LONGEST = 4000
"""Characters of a field of a query that are looked at."""


class Visit:
    """A request.

    What pages read goes through this object: it shares answers with other visitors, and hides what this one may not
    see.
    """

    def __init__(
        self, site: Site, visitor: Visitor, page: str, query: Query, *, patience: float = PATIENCE,
        first: float = PATIENCE,
    ) -> None:  # fmt: skip
        self.site = site
        self.visitor = visitor
        self.page = page
        """The name of the page."""
        self.query = query
        self.patience, self.first = patience, first
        """s that it waits for what takes long: for a new answer where there is an older one, and where there is none.
        """
        self.operator = Operator(site.queues, who=visitor.name, on_act=site.on_act)
        shield = site.shield
        self.shield: Shield = shield.open() if 'payload' in visitor.allow else shield

    # What is asked for

    def may(self, grant: str) -> bool:
        """Whether the visitor is allowed something."""
        return grant in self.visitor.allow

    @property
    def may_act(self) -> bool:
        """Whether the visitor is allowed more than to look."""
        return bool(self.visitor.allow - {'payload'})

    def text(self, name: str, default: str = '') -> str:
        """A field of the query, without what stands around it."""
        found = self.query.get(name, default)
        if len(found) > LONGEST:
            raise TorrelqueValueError(f'{name} is longer than {LONGEST:,} characters')
        return found

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 on of the query.

        :raises TorrelqueValueError: it is none.
        """
        text = self.text(name).strip()
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
            raise TorrelqueValueError(f'{name} is a whole number from 1 on, not {text[:40]!r}')
        return min(int(text), most)

    @property
    def queue(self) -> TorrelqueQueue:
        """The queue that is asked for; where there is only one, that.

        :raises TorrelqueValueError: there is none of this name, or none is named.
        """
        return self.operator.queue(self.query.get('q') or None)

    @property
    def name(self) -> str | None:
        """The name of the queue, if one is meant."""
        if self.query.get('q') or len(self.site.queues) == 1:
            return self.queue.name
        return None

    @property
    def names(self) -> list[str]:
        """Names of the queues that are meant: one, or all."""
        return [queue.name for queue in self.site.queues] if self.name is None else [self.name]

    # What is read

    async def read(self, what: Hashable, age: float, read: Callable[[], Awaitable[T]]) -> T:
        """An answer, shared with all who ask for the same.

        :param what: its name.
        :param age: how old (s) it may be.
        """
        return await self.site.reads.get(what, age, read)

    async def soon(self, what: Hashable, age: float, read: Callable[[], Awaitable[T]]) -> T | None:
        """The same of what takes long; None where it has not come yet."""
        return await self.site.reads.soon(what, age, read, self.patience, self.first)

    async def part(self, answer: Awaitable[T]) -> T | Trouble:
        """A part of a page, or why it could not be read: what is broken in one does not take the page down."""
        try:
            return await answer
        except (TorrelqueServerError, AwayError) as exc:
            return Trouble(self.shield.text(str(exc)))

    async def overviews(self) -> list[Overview]:
        """The figures of the queues that are meant; each queue is read by itself, and shared."""
        return list(await asyncio.gather(*map(self.overview, self.names)))

    async def overview(self, name: str) -> Overview:
        """The figures of a queue."""
        operator = self.site.operators[name]
        [found] = await self.read(('overview', name), OVERVIEW, operator.overviews)
        return self.shield.overview(found)

    async def workers(self, name: str | None = None) -> list[WorkerView]:
        """The workers of a queue, or of all."""
        operator = self.operator if name is None else self.site.operators[name]
        return await self.read(('workers', name), WORKERS, operator.workers)

    async def errors(self, name: str, most: int = FEW_ERRORS, *, age: float | None = None) -> Errors | None:
        """What has failed, grouped, with errors as the visitor may see them; None where they are still looked at."""
        operator, shield = self.site.operators[name], self.shield

        async def read() -> Errors:
            found = await operator.errors(most=most)
            shown = []
            for one in found.errors:
                # Errors are long, and others of the event loop are to have their turn.
                shown.append(shield.error_group(one))
                await asyncio.sleep(0)
            return dataclasses.replace(found, errors=tuple(shown))

        if age is None:
            age = ERRORS if most <= FEW_ERRORS else MANY_ERRORS
        return await self.soon(('errors', name, most, shield.is_open), age, read)

    async def groups(
        self, name: str, by: str, most: int, pattern: str | None = None, *, age: float = GROUPS
    ) -> Groups | None:
        """The first groups by a figure, by a survey that may be half a minute old; None where it is still going on.

        One survey serves all orders and patterns, as long as there are not too many groups to be kept.
        """
        operator = self.site.operators[name]
        if (await self.overview(name)).groups <= KEPT:
            found = await self.soon(('groups', name), age, lambda: operator.groups(most=KEPT))
            return None if found is None else pick(found, by, most, pattern)

        async def read() -> Groups:
            return await operator.groups(by=by, most=most, pattern=pattern)

        return await self.soon(('groups', name, by, most, pattern), age, read)

    async def group(self, name: str, group: str) -> GroupView:
        """A group."""
        operator = self.site.operators[name]
        return await self.read(('group', name, group), OVERVIEW, lambda: operator.group(group))

    async def orphaned(self, name: str) -> Page | None:
        """Tasks that are worked on by nobody, as far as is known; None where they are still looked for."""
        operator = self.site.operators[name]

        async def read() -> Page:
            return await operator.page('orphaned', most=ORPHANED, payload=0)

        return await self.soon(('orphaned', name), ORPHANS, read)

    async def records(self, name: str, length: str = '1h') -> list[Record]:
        """The history of a queue, of one of `LENGTHS`."""
        operator = self.site.operators[name]

        async def read() -> list[Record]:
            now = (await self.overview(name)).server_time
            return await self.site.past.read(operator, name, LENGTHS[length], now)

        return await self.read(('records', name, length), RECORDS, read)

    async def functions(self, name: str, length: str = '1h') -> list[FunctionView]:
        """Functions of a queue over one of `LENGTHS`."""
        queue = self.operator.queue(name)

        async def read() -> list[FunctionView]:
            span = LENGTHS[length]
            records = await self.records(name, length) if span <= MINUTES else None
            return await read_functions(await home_of(queue), span, records)

        # The longer the time is, the less a moment changes of it, and the longer it takes to read it.
        age = RECORDS if length == '1h' else 6 * RECORDS
        return await self.read(('functions', name, length), age, read)

    async def suggestions(self, name: str, most: int) -> tuple[list[str], list[str]]:
        """Names of functions that ran in the last hour, and of groups, as far as they are known without waiting."""
        found, groups = await asyncio.gather(
            self.part(self.site.reads.soon(('suggested', name), RECORDS, lambda: self.functions(name), PATIENCE / 2)),
            self.part(self.groups(name, 'waiting', most)),
        )
        functions = [] if found is None or isinstance(found, Trouble) else [one.name for one in found if one.name]
        return functions[:most], [] if groups is None or isinstance(groups, Trouble) else [one.name for one in groups]

    async def reasons(self, name: str, task_id: str | None = None, group: str | None = None) -> list[Reason]:
        """Why nothing moves in a queue, or a task or a group does not, as the visitor may see it."""
        operator = self.site.operators[name]
        found = await self.read(
            ('reasons', name, task_id, group), OVERVIEW, lambda: operator.explain(task_id, group=group)
        )
        return [self.shield.reason(one) for one in found]

    async def acts(self, name: str | None = None) -> list[Act]:
        """Who did what."""
        operator = self.operator if name is None else self.site.operators[name]
        return [self.shield.act(act) for act in await self.read(('acts', name), ACTS, operator.acts)]

    async def alerts(self, name: str) -> list[AlertView]:
        """The alerts of a queue that fire, as far as anybody looks at them."""
        [queue] = self.site.operators[name].queues
        found = await self.part(self.read(('alerts', name), ALERTS, lambda: read_alerts(queue)))
        return [] if isinstance(found, Trouble) else [one for one in found if one.firing and one.current]

    async def schedules(self, name: str, prefix: str, skip: int, most: int) -> Schedules:
        """Some schedules of a queue, those first that fire next, without what they enqueue."""
        operator = self.site.operators[name]

        async def read() -> Schedules:
            return await operator.schedule_page(prefix, skip=skip, most=most)

        found = await self.read(('schedules', name, prefix, skip, most), SCHEDULES, read)
        views = (self.shield.schedule(replace(view, payload=None, raw=None)) for view in found)
        return replace(found, schedules=tuple(views))

    async def schedule(self, name: str, schedule: str) -> ScheduleView:
        """A schedule, as the visitor may see it."""
        operator = self.site.operators[name]
        found = await self.read(('schedule', name, schedule), SCHEDULES, lambda: operator.schedule(schedule))
        return self.shield.schedule(found)

    async def flows(self, name: str, after: str | None, most: int) -> Flows:
        """Flows of a queue, of so many tasks that wait."""
        operator = self.site.operators[name]
        found = await self.read(
            ('flows', name, after, most), FLOWS, lambda: operator.flows(after=after, most=most)
        )
        return replace(found, flows=tuple(self.shield.flow(flow) for flow in found))

    async def flow(self, name: str, flow_id: str, after: str | None, most: int) -> FlowView:
        """A flow and some of its tasks; its payload is not for the visitor before it went through the shield."""
        operator = self.site.operators[name]

        async def read() -> FlowView:
            return await operator.flow(flow_id, after=after, most=most, edges_of=LARGE)

        return await self.read(('flow', name, flow_id, after, most), FLOW, read)

    async def stalled(self, name: str) -> list[Finding] | Trouble | None:
        """Flows that stand still; None is not known yet."""
        read = self.site.operators[name].stalled
        return await self.part(self.soon(('stalled', name), STALLED, read))

    async def flow_reasons(self, flow: FlowView) -> list[Reason] | Trouble | None:
        """Why a flow has not ended; None is not known yet."""
        if flow.total <= LARGE:
            return await self.part(self.reasons(flow.queue, flow.id))
        operator = self.site.operators[flow.queue]
        what = 'flow_reasons', flow.queue, flow.id
        found = await self.part(self.soon(what, STALLED, lambda: operator.explain(flow.id)))
        return [self.shield.reason(one) for one in found] if isinstance(found, list) else found

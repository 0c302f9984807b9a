"""Questions of an operator about what is to come: schedules and flows; and which queue is meant."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from torrelque import Torrelque, TorrelqueLookupError, TorrelqueTypeError, TorrelqueValueError
from torrelque.protocol import check

from . import lazily, reading
from .flowing import Flows, FlowView
from .recurring import Schedules, ScheduleView
from .values import Finding

if TYPE_CHECKING:
    from . import flows, scheduled, standing
else:
    flows, scheduled, standing = map(lazily.Module, ('flows', 'scheduled', 'standing'))

T = TypeVar('T')


class Planned:
    """What `Operator` has of these."""

    queues: tuple[Torrelque, ...]

    async def schedules(
        self, prefix: str = '', *, payload: int = 4096, instants: int = 10, queue: str | None = None
    ) -> list[ScheduleView]:
        """The schedules whose names begin with a text: those first that fire next.

        :param payload: bytes; longer payloads are left out, and their size is told.
        :param instants: of each that are told, up to 1,000.
        :param queue: the name of a queue; None is all.
        """
        if not isinstance(prefix, str):
            raise TorrelqueTypeError(f'prefix must be a str, not {type(prefix).__name__}')
        check.check_count(payload, 'payload', 0)
        most = min(check.check_count(instants, 'instants'), 1000)
        queues = self.queues if queue is None else (self.queue(queue),)
        found = [view for one in queues for view in await scheduled.read_schedules(one, prefix, payload, most)]
        return sorted(found, key=lambda view: view.order)

    async def schedule_page(
        self, prefix: str = '', *, skip: int = 0, most: int = 100, payload: int = 4096, queue: str | None = None
    ) -> Schedules:
        """Some of the schedules of a queue, those first that fire next: however many there are, no more are read.

        :param prefix: the text with which their names begin; names of all are looked at for one.
        :param skip: how many come before these.
        :param most: schedules at the most, up to 1,000.
        :param payload: bytes; longer payloads are left out, and their size is told.
        :param queue: the name of the queue, where there are several.
        """
        if not isinstance(prefix, str):
            raise TorrelqueTypeError(f'prefix must be a str, not {type(prefix).__name__}')
        check.check_count(skip, 'skip', 0)
        check.check_count(payload, 'payload', 0)
        most = min(check.check_count(most, 'most'), 1000)
        return await scheduled.read_some(self.queue(queue), prefix, skip, most, payload)

    async def schedule(self, name: str, *, payload: int = 65536, queue: str | None = None) -> ScheduleView:
        """A schedule.

        :param queue: the name of its queue; None is whichever has it.
        :raises TorrelqueLookupError: no queue has one of this name.
        :raises TorrelqueValueError: several have, and none is named.
        """
        reading.check_text(name, 'the name of a schedule')
        check.check_count(payload, 'payload', 0)
        return await self._find('schedule', name, queue, lambda one: scheduled.read_schedule(one, name, payload))

    async def flows(self, *, after: str | None = None, most: int = 10_000, queue: str | None = None) -> Flows:
        """The flows that have not ended, without their tasks, in no order.

        :param after: the ``cursor`` of the answer before.
        :param most: how many tasks and flows that wait are looked at for them, about.
        :param queue: the name of the queue, where there are several.
        :raises TorrelqueValueError: the cursor is none, or a queue is to be named.
        """
        if after is not None and not isinstance(after, str):
            raise TorrelqueTypeError(f'a cursor must be a str, not {type(after).__name__}')
        return await flows.read_flows(self.queue(queue), after, check.check_count(most, 'most'))

    async def flow(
        self,
        flow_id: str,
        *,
        after: str | None = None,
        most: int = 250,
        edges_of: int = 100_000,
        queue: str | None = None,
    ) -> FlowView:
        """A flow, and some of its tasks, those first that have not ended; until its ``result_ttl`` is over.

        :param after: the ``cursor`` of the answer before.  A task that ends in between may be told twice.
        :param most: tasks, about, up to 100,000; they are read some hundred at a time.
        :param edges_of: of a flow of more tasks, whose payload does not tell of them, it is not told which of them wait
            for which, because all would be looked at for that.
        :param queue: the name of its queue; None is whichever knows it.
        :raises TorrelqueLookupError: no queue knows a flow of this id; it may be a task.
        :raises TorrelqueValueError: several know it, and none is named; or the cursor is none.
        """
        reading.check_text(flow_id, 'a flow id')
        most = min(check.check_count(most, 'most'), 100_000)
        room = check.check_count(edges_of, 'edges_of', 0)
        return await self._find('flow', flow_id, queue, lambda one: flows.read_flow(one, flow_id, after, most, room))

    async def stalled(self, *, queue: str | None = None) -> list[Finding]:
        """Flows that do not go on by themselves, and the command that has them go on: with dead tasks that they wait
        for, with nothing left that could begin, past their time; and what nobody does of what was put off of flows.
        They are looked for among 10,000 tasks and flows that wait.

        :param queue: the name of a queue; None is all.
        """
        queues = self.queues if queue is None else (self.queue(queue),)
        return [finding for one in queues for finding in await standing.read_stalled(one)]

    def queue(self, name: str | None = None) -> Torrelque:
        """The queue of a name; None where there is only one.

        :raises TorrelqueValueError: there is none of this name, or several and none is named.
        """
        found = [queue for queue in self.queues if name is None or queue.name == name]
        if len(found) != 1:
            names = ', '.join(repr(queue.name) for queue in self.queues)
            raise TorrelqueValueError(f'there is no queue {name!r}: {names}' if name else f'name one of {names}')
        return found[0]

    async def _find(self, what: str, name: str, queue: str | None, read: Callable[[Torrelque], Awaitable[T]]) -> T:
        """What the queue that is named has, or the only one that has it."""
        found: dict[str, T] = {}
        missing = None
        for one in self.queues if queue is None else (self.queue(queue),):
            try:
                found[one.name] = await read(one)
            except TorrelqueLookupError as exc:
                missing = exc
        if missing is not None and not found:
            raise missing
        reading.check_unique({name: [*found]}, what)
        return next(iter(found.values()))

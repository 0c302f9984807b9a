"""Alerts: whoever looks at the rules of queues, and tells of those that fire.

Any number of processes may look.  What they have found is one state in the server, moved by one script, which gives the
right to tell to one of them; none of them is special, and none is waited for.
"""

import asyncio
import json
import logging
import random
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from torrelque import TorrelqueClosedError, TorrelqueError, TorrelqueQueue, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import AlertView, Operator

from .measures import measure, read
from .notice import Notice, command_of
from .rules import Rule
from .scripts import run_script
from .sinks import LOG, Outlet, Sink, log, named

if TYPE_CHECKING:
    from torrelque.worker import Worker

logger = logging.getLogger('torrelque.monitor')

PAUSE = 15.0
"""s from one look to the next."""
CLOSING = 2.0
"""s that the end waits for those who are being told."""
WHO = 'alerts'
"""Whoever puts on record that a rule fires, or is over."""

Self = TypeVar('Self', bound='Alerts')


class Task(NamedTuple):
    """What this process has the right to tell."""

    queue: TorrelqueQueue
    rule: Rule
    view: AlertView
    state: str
    """'firing', 'repeat', 'resolved'."""
    token: str
    done: frozenset[str]
    """Names of the sinks that were told already."""


class Alerts:
    """Looks at the rules of some queues, and tells of those that fire, and when that is over.

    It goes over the connections of the queue objects, in their event loop.  A server that is away, or refuses, is
    logged once, and asked again at the next look.

    :param queues: a `torrelque.Torrelque`, or several; rules of other queues are left out.
    :param rules: what to look at, each of another name.
    :param to: sinks, see `Sink`: a mapping of names, or functions that have names of their own.  The sink 'log' is
        always there; it writes a warning.
    :raises TorrelqueError: two rules have one name, or a rule names a sink that there is not.
    """

    rules: tuple[Rule, ...]

    def __init__(
        self,
        queues: TorrelqueQueue | Iterable[TorrelqueQueue],
        rules: Iterable[Rule],
        to: Mapping[str, Sink] | Iterable[Sink] | Sink = (),
    ) -> None:
        # Legend.  _operators: by the names of the queues, of which each has one.  _outlets: by the names of the sinks.
        # _away: names of queues that could not be looked at last.  _looking: those that are being looked at.
        # _going_on: what was begun and is not waited for.
        self.rules = check_rules(rules)
        self._operators = {queue.name: Operator(queue, who=WHO) for queue in Operator(queues).queues}
        self._outlets = {LOG: Outlet(LOG, log), **{name: Outlet(name, sink) for name, sink in named(to).items()}}
        for rule in self.rules:
            if missing := {*rule.to} - {*self._outlets}:
                has = ', '.join(self._outlets)
                raise TorrelqueValueError(
                    f'rule {rule.name!r} tells {", ".join(sorted(missing))}, and there is no such sink: {has}'
                )
        self._away: set[str] = set()
        self._looking: set[str] = set()
        self._going_on: set[asyncio.Task[Any]] = set()

    @classmethod
    def of_worker(
        cls: type[Self], worker: 'Worker', rules: Iterable[Rule], to: Mapping[str, Sink] | Iterable[Sink] | Sink = ()
    ) -> Self:
        """Alerts of the queues of a worker, at which it looks as it beats; where several serve a queue, one of them
        does each 15 s.  It needs a heartbeat of less than a minute.

        They are a context manager around `torrelque.worker.Worker.run`, and are ended behind it.
        """
        found = cls(worker.queues, rules, to)
        worker.on_sample = found.look_soon
        return found

    async def look(self) -> list[AlertView]:
        """Look at all rules once, and wait until those were told who are to be, 28 s at the most; how the rules
        are.

        Queues that cannot be read are logged, and left out.  When it is cancelled, what was not told is told by the
        next look that comes half a minute later, in whatever process.
        """
        found = await self._look()
        if self._going_on:
            await asyncio.wait([*self._going_on])
        return found

    async def run(self, on_look: Callable[[list[AlertView]], object] | None = None) -> None:
        """Look each 15 s, until it is cancelled; sinks are not waited for.

        At the end whoever is being told has 2 s; what was not told then is told by the next look that comes half a
        minute later, in whatever process.

        :param on_look: is called with the rules after each look.
        """
        try:
            while True:
                views = await self._look()
                if on_look is not None:
                    on_look(views)
                # Processes that were started together look at different times.
                await asyncio.sleep(PAUSE * random.uniform(0.9, 1.0))
        finally:
            await self.aclose()

    def look_soon(self, queue: TorrelqueQueue) -> None:
        """Begin a look at one queue, and return: what ``on_sample`` of a `torrelque.worker.Worker` can be."""
        if queue.name in self._operators:
            self._begin(self._look_at(queue.name))

    async def test(self, name: str, queue: str | None = None) -> dict[str, str | None]:
        """Tell the sinks of a rule how it is, as a test, whether it fires or not; no state is changed.

        :param queue: the name of a queue; by default the first that the rule is about.
        :return: what went wrong, None for nothing, by the names of the sinks.
        :raises TorrelqueValueError: there is no such rule, or it is about none of the queues.
        :raises TorrelqueError: the queue cannot be read.
        """
        rule = next((rule for rule in self.rules if rule.name == name), None)
        if rule is None:
            raise TorrelqueValueError(f'there is no rule {name!r}: {", ".join(one.name for one in self.rules)}')
        about = [one for one in self._operators if rule.is_of(one) and queue in (None, one)]
        if not about:
            raise TorrelqueValueError(f'rule {name!r} is about none of {", ".join(self._operators)}')
        seen = await read(self._operators[about[0]], [rule.when])
        value, words = measure(rule.when, seen, rule.at_least)
        now = seen.overview.server_time
        notice = Notice(
            'test', False, rule.name, about[0], rule.when, value, words, now, now, command_of(rule, about[0]),
            secrets.token_hex(8),
        )  # fmt: skip
        return await self._tell_all(self._outlets_of(rule), notice)

    async def aclose(self) -> None:
        """End what was begun: whoever is being told has 2 s.  The queues stay open."""
        going_on = [*self._going_on]
        if not going_on:
            return
        try:
            await asyncio.wait(going_on, timeout=CLOSING)
        finally:
            for one in going_on:
                one.cancel()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # Parts

    def _begin(self, call: Any) -> None:
        task = asyncio.ensure_future(call)
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)

    async def _look(self) -> list[AlertView]:
        # A server that is away holds up nothing but its own queues.
        found = await asyncio.gather(*map(self._look_at, self._operators))
        return [view for views in found for view in views]

    async def _look_at(self, name: str) -> list[AlertView]:
        """Look at one queue, and begin to tell what is to be told."""
        rules = [rule for rule in self.rules if rule.is_of(name)]
        if not rules or name in self._looking:
            return []
        self._looking.add(name)
        operator = self._operators[name]
        try:
            views, tasks = await move(operator, rules)
        except Exception as exc:
            # Besides a server that is away, whatever goes wrong here must not end the next looks.
            self._note_away(name, exc)
            return []
        finally:
            self._looking.discard(name)
        if name in self._away:
            self._away.discard(name)
            logger.info('queue %r: alerts are looked at again', name)
        for task in tasks:
            self._begin(self._carry_out(operator, task))
        return views

    def _note_away(self, name: str, error: Exception) -> None:
        if name not in self._away and not isinstance(error, TorrelqueClosedError):
            why = str(error).removeprefix(f'queue {name!r}: ') or type(error).__name__
            logger.warning('queue %r: alerts cannot be looked at, and nobody is told: %s', name, why)
        self._away.add(name)

    def _outlets_of(self, rule: Rule, but: frozenset[str] = frozenset()) -> list[Outlet]:
        return [one for name, one in self._outlets.items() if name not in but and (not rule.to or name in rule.to)]

    async def _carry_out(self, operator: Operator, task: Task) -> None:
        """Tell what this process has the right to, and write down who was told."""
        view, rule = task.view, task.rule
        state = 'resolved' if task.state == 'resolved' else 'firing'
        notice = Notice(
            state, task.state == 'repeat', rule.name, view.queue, rule.when, view.value, view.words,
            view.began or view.since, view.seen, command_of(rule, view.queue), task.token,
        )  # fmt: skip
        told = await self._tell_all(self._outlets_of(rule, task.done), notice)
        for name, error in told.items():
            if error is not None:
                what = 'queue %r: the alert %r could not be told by the sink %r: %s'
                logger.warning(what, view.queue, rule.name, name, error)
        done = [name for name, error in told.items() if error is None]
        try:
            whole = int(len(done) == len(told))
            await run_script(task.queue, 'alert', 'told', task.token, rule.field, whole, *done)
            if not task.done and task.state != 'repeat':
                await operator.record(state, f'{rule.name}: {view.words}')
        except TorrelqueError as exc:
            self._note_away(view.queue, exc)

    async def _tell_all(self, outlets: Sequence[Outlet], notice: Notice) -> dict[str, str | None]:
        errors = await asyncio.gather(*(one.tell(notice) for one in outlets))
        return {one.name: error for one, error in zip(outlets, errors, strict=True)}


def check_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Rules that have different names.

    :raises TorrelqueError: two have not, or something else is among them.
    """
    found = tuple(rules)
    for one in found:
        if not isinstance(one, Rule):
            raise TorrelqueTypeError(f'alerts are made with rules, not with {one!r}')
    if len({rule.name for rule in found}) < len(found):
        raise TorrelqueValueError('two rules have the same name')
    return found


async def move(operator: Operator, rules: Sequence[Rule]) -> tuple[list[AlertView], list[Task]]:
    """Look at a queue, and move the states of its rules: these, and what this process is to tell.

    :raises TorrelqueError: the server refuses, or no reply came for some ten seconds.
    """
    [queue] = operator.queues
    seen = await read(operator, {rule.when for rule in rules})
    token = secrets.token_hex(8)
    words: list[str | float] = []
    for rule in rules:
        value, told = measure(rule.when, seen, rule.at_least)
        times = [round(1000 * one) for one in (rule.for_, rule.clear_for, rule.repeat)]
        words += [
            rule.field, '' if value is None else repr(value), told, repr(rule.above), times[0], repr(rule.below),
            times[1], times[2],
        ]  # fmt: skip
    now, *states = await run_script(queue, 'alert', 'look', token, *words)
    views, tasks = [], []
    for rule, (state, what, done) in zip(rules, states, strict=True):
        view = AlertView.of(queue.name, rule.name, state, now / 1000)
        if view is None:
            continue
        views.append(view)
        if what:
            names = json.loads(done)
            told_already = frozenset(names if isinstance(names, list) else ())
            tasks.append(Task(queue, rule, view, what.decode(), token, told_already))
    return views, tasks

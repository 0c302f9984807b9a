"""The part of an app that declares schedules.  An app without any loads nothing of `torrelque.cron`."""

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from torrelque import Duration, TorrelqueError, TorrelqueTypeError
from torrelque.protocol.check import check_count, check_name

from .function import FifoFunction, Function
from .loops import Loops
from .serving import Queues

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from torrelque.cron import Instants, Missed, Overlap, Schedules

logger = logging.getLogger(__package__)

F = TypeVar('F', bound=Callable[..., Any])


class Scheduling(ABC):
    """What `Tasks` is made of, as far as schedules go."""

    _loops: Loops
    _functions: dict[str, Function[..., Any, Any] | FifoFunction[..., Any, Any]]

    def __init__(self, name: str | None, revision: int | None) -> None:
        # Legend.  _own_name, _revision: who declares schedules.  _early: of functions that are to be tasks, too, but
        # are not yet, what declares their schedules.  _bare: whether the log has that the extra is missing.
        self._own_name = None if name is None else check_name(name, 'the name of an app')
        self._revision = None if revision is None else check_count(revision, 'revision', least=0)
        self._schedules: Schedules | None = None
        self._bare = False
        self._early: list[tuple[Callable[..., Any], Callable[[Any], None]]] = []

    def cron(
        self,
        when: 'str | Instants | None' = None,
        *,
        every: Duration | None = None,
        timezone: 'str | ZoneInfo' = 'UTC',
        phase: Duration = 0,
        overlap: 'Overlap' = 'skip',
        missed: 'Missed' = 'latest',
        grace: Duration | None = None,
        jitter: Duration = 0,
        until: 'datetime | float | None' = None,
        name: str | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function, above or below `task`, so that it is called at the instants of a schedule.

        Each worker of the app that begins sets the schedule; from then on the queue fires it, whoever waits there.  The
        function is called without arguments.

        :param when: a cron expression, or another calendar.
        :param every: a period (s), in the place of both.
        :param phase: by how much (s) later than multiples of the period since 1970.
        :param name: the name of the schedule, that of the function by default.
        :raises TorrelqueError: cronsim is not installed, of the extra ``cron``.
        :raises TorrelqueTypeError: an argument is of the wrong kind, or one of the function has no default.
        :raises TorrelqueValueError: an argument cannot be meant, or the app has a schedule of the name.

        The others are as in ``app.schedules.add``.
        """
        declare = self.schedules.declare(
            when, every, timezone, phase, jitter, overlap=overlap, missed=missed, grace=grace, until=until
        )

        def decorate(function: F) -> F:
            given: Any = function
            if isinstance(given, (Function, FifoFunction)):
                if self._functions.get(given.name) is not given:
                    raise TorrelqueTypeError(f'{given.name} is a function of another app')
                declare(name, given)
            elif callable(given):
                self._early.append((given, functools.partial(declare, name)))
            else:
                raise TorrelqueTypeError(f'not a function: {given!r}')
            return function

        return decorate

    @property
    def schedules(self) -> 'Schedules':
        """The schedules of the app's queues, to be set, asked for, paused and fired.

        :raises TorrelqueError: cronsim is not installed, of the extra ``cron``.
        """
        if self._schedules is None:
            try:
                from torrelque.cron import Schedules
            except ModuleNotFoundError as exc:
                if exc.name != 'cronsim':
                    raise
                raise TorrelqueError(
                    "schedules need cronsim, of the extra 'cron': pip install 'torrelque[cron]'"
                ) from exc
            self._schedules = Schedules(
                self._loops, self._functions, self._all_queues, self._own_name, self._revision
            )
        return self._schedules

    # Parts

    @abstractmethod
    def _all_queues(self) -> Queues:
        """The queues that a worker serves, where nothing says which."""

    def _declare_early(self, function: Any) -> None:
        """A function is a task now, of which schedules may have been declared before."""
        for early in [early for early in self._early if early[0] is function.function]:
            self._early.remove(early)
            early[1](function)

    def _check_early(self) -> None:
        if self._early:
            early = self._early[0][0]
            name = f'{early.__module__}.{early.__qualname__}' if hasattr(early, '__qualname__') else repr(early)
            raise TorrelqueTypeError(f'app.cron decorates {name}, which app.task does not')

    @property
    def _keeps_schedules(self) -> bool:
        """Whether workers have to see to schedules: where any were asked for or declared, or an app of this name may
        have declared some before."""
        ground = self._loops.ground
        if ground is not None and not ground.fires:
            return False
        return self._schedules is not None or self._own_name is not None and self._has_calendars()

    def _has_calendars(self) -> bool:
        """Whether the extra is there, which an app that declares nothing need not have."""
        if self._bare:
            return False
        try:
            self.schedules  # noqa: B018
        except TorrelqueError:
            self._bare = True
            logger.info('the app %r leaves schedules to others, because cronsim is not installed', self._own_name)
        return not self._bare

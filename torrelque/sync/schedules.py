"""The verbs of schedules, of the synchronous queue."""

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from torrelque import Duration, TorrelqueSchedule, TorrelqueTaskId
from torrelque.base import Queue
from torrelque.protocol import schedules
from torrelque.protocol.scheduling import Instant, Rule
from torrelque.protocol.steps import Steps

T = TypeVar('T')


class Schedules(Queue):
    """What a queue object has for tasks that come again and again."""

    if TYPE_CHECKING:

        def _run(self, steps: Steps[T]) -> T: ...

    def set_schedule(
        self,
        name: str,
        task: Any,
        *,
        times: Iterable[Instant] | None = None,
        every: Duration | None = None,
        phase: Duration = 0,
        task_timeout: Duration | None = None,
        max_attempts: int | None = None,
        group: str | None = None,
        priority: int = 0,
        overlap: str = 'skip',
        missed: str = 'latest',
        grace: Duration | None = None,
        until: Instant | None = None,
        spec: Any = None,
        source: str | None = None,
        revision: int | None = None,
    ) -> bool:
        """Have a task enqueued at some instants, again and again, as the asynchronous one."""
        lease = self.task_timeout if task_timeout is None else task_timeout
        rule = Rule(times, every, phase, overlap, missed, grace, until, spec, source, revision)
        verb = schedules.set_schedule(self._calls, name, task, rule, lease, max_attempts, group, priority)
        return self._run(verb)

    def extend_schedule(
        self, name: str, times: Iterable[Instant], *, after: Instant | None, spec: Any = None
    ) -> bool:
        """Append instants to a schedule, as the asynchronous one."""
        return self._run(schedules.extend_schedule(self._calls, name, times, after, spec))

    def remove_schedule(self, name: str, *, source: str | None = None, revision: int | None = None) -> bool:
        """Forget a schedule, as the asynchronous one."""
        return self._run(schedules.remove_schedule(self._calls, name, source, revision))

    def pause_schedule(self, name: str) -> bool:
        """Pass over what is due from now on, as the asynchronous one."""
        return self._run(schedules.hold_schedule(self._calls, name, True))

    def resume_schedule(self, name: str) -> bool:
        """Have a schedule fire again, as the asynchronous one."""
        return self._run(schedules.hold_schedule(self._calls, name, False))

    def fire(self, name: str, *times: Instant) -> list[TorrelqueTaskId]:
        """Enqueue the task of a schedule now, or for some instants, as the asynchronous one."""
        return self._run(schedules.fire(self._calls, name, times))

    def get_schedule(self, name: str) -> TorrelqueSchedule:
        """A schedule, as the asynchronous one."""
        return self._run(schedules.get_schedule(self._calls, name))

    def get_schedules(self, prefix: str = '') -> Generator[TorrelqueSchedule, None]:
        """The schedules whose names begin with a text, as the asynchronous one; the generator is a plain one."""
        scan = schedules.ScheduleScan(self._calls, prefix)
        while not scan.over:
            yield from self._run(scan.read())

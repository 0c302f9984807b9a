"""Fills the worker's defaults into jobs."""

import pickle
from collections.abc import Callable
from typing import Any

from torrelque import Duration, TorrelqueTypeError
from torrelque.protocol import check

from .adapting import adapted
from .bounds import Bounds
from .delivery import Job
from .job import Resolved
from .retry import check_rule


class Resolver:
    """Resolves the jobs of one worker, each once.

    :param defaults: the worker's own job, whose fields are used where a job leaves them open.
    :param counts_outcomes: whether a breaker is to be told of each outcome.
    """

    adapts = True
    """Whether jobs go through the functions of `adapt_jobs`."""

    def __init__(self, defaults: Job, counts_outcomes: bool, bounds: Bounds) -> None:
        self.defaults = defaults
        self._bounds = bounds
        self._counts_outcomes = counts_outcomes
        self._resolved: dict[int, Resolved] = {}
        self.default = self.resolve(defaults)
        """The worker's own job, for tasks whose job the app has not found (yet)."""

    def resolve(self, job: Job) -> Resolved:
        """A job with the defaults in it.

        :raises TorrelqueTypeError: a field of the job is of the wrong kind.
        :raises TorrelqueValueError: a field cannot be meant.
        """
        resolved = self._resolved.get(id(job))
        if resolved is None:
            resolved = self._make(job)
            if len(self._resolved) >= self._bounds.resolved_jobs:
                self._resolved.clear()
            self._resolved[id(job)] = resolved
        return resolved

    def _make(self, job: Job) -> Resolved:
        defaults = self.defaults
        fields = [default if own in (None, '') else own for own, default in zip(job, defaults, strict=True)]
        full = Job._make(fields)
        if self.adapts:
            full = adapted(full)
        _check_job(full)
        coroutine = check.is_async(full.call)
        if not coroutine and full.run_in == 'process':
            _check_portable(full.call)
        sources = (defaults,) if job is defaults else (defaults, job)
        on_success, on_error, on_dead = (
            tuple(hook for source in sources if (hook := getattr(source, name)) is not None)
            for name in ('on_success', 'on_error', 'on_dead')
        )
        ttl, keep = _seconds(full.result_ttl, 'result_ttl'), _seconds(full.keep, 'keep')
        ttl = keep or None if ttl is None else ttl
        timeout = _seconds(full.timeout, 'timeout', least=check.MIN_SECONDS, positive=True)
        quiet = not on_success and not self._counts_outcomes
        direct = coroutine and full.admit is None
        return Resolved(job, full, coroutine, on_success, on_error, on_dead, ttl, timeout, direct, quiet)


def _seconds(duration: Duration | None, what: str, **bounds: Any) -> float | None:
    return None if duration is None else check.check_seconds(duration, what, **bounds)


def _check_job(job: Job) -> None:
    """Refuse a job, with the worker's defaults in it, whose tasks could not be worked on."""
    check.check_attempts(job.max_attempts)
    if job.retry is None:
        raise TorrelqueTypeError('retry must be a rule, not None; max_attempts=1 has a task tried once')
    check_rule(job.retry)
    if job.run_in is not None:
        check.check_run_in(job.run_in)
    check.check_hooks(on_success=job.on_success, on_error=job.on_error, on_dead=job.on_dead)
    if job.around_thread is not None:
        check.check_call(job.around_thread, 'around_thread', 'delivery')


def _check_portable(call: Callable[..., Any]) -> None:
    """Refuse a handler that cannot be sent to a process."""
    try:
        pickle.dumps(call)
    except Exception as exc:
        raise TorrelqueTypeError(f'a handler that runs in a process must be a function of a module: {exc}') from exc

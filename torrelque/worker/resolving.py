"""Fills the worker's defaults into jobs."""

from .check import is_async
from .delivery import Job
from .job import Resolved
from .options import check_job, check_portable

MAX_RESOLVED = 10_000
"""Jobs that are kept with their defaults at the most, should an app make a new job for each task."""


class Resolver:
    """Resolves the jobs of one worker, each once.

    :param defaults: the worker's own job, whose fields are used where a job leaves them open.
    :param counts_outcomes: whether a breaker is to be told of each outcome.
    """

    def __init__(self, defaults: Job, counts_outcomes: bool) -> None:
        self.defaults = defaults
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
            if len(self._resolved) >= MAX_RESOLVED:
                self._resolved.clear()
            self._resolved[id(job)] = resolved
        return resolved

    def _make(self, job: Job) -> Resolved:
        defaults = self.defaults
        fields = [default if own in (None, '') else own for own, default in zip(job, defaults, strict=True)]
        full = check_job(Job._make(fields))
        coroutine = is_async(full.call)
        if not coroutine and full.run_in == 'process':
            check_portable(full.call)
        sources = (defaults,) if job is defaults else (defaults, job)
        on_success, on_error, on_dead = (
            tuple(hook for source in sources if (hook := getattr(source, name)) is not None)
            for name in ('on_success', 'on_error', 'on_dead')
        )
        ttl = full.keep or None if full.result_ttl is None else full.result_ttl
        quiet = not on_success and not self._counts_outcomes
        return Resolved(job, full, coroutine, on_success, on_error, on_dead, ttl, quiet)

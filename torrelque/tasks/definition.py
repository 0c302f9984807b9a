"""What the app knows of a decorated function: its name, its arguments, its task's payload, its job."""

import functools
import inspect
import math
import os
import sys
from collections.abc import Callable, Collection
from typing import Any

from torrelque import TorrelqueTypeError
from torrelque.protocol.check import MIN_SECONDS, check_name, check_seconds
from torrelque.worker import Job

from .adapters import Types
from .callee import Callee
from .context import SHARED, Contexts
from .converting import Kinds
from .expiry import refuse_expired
from .flowing import job_that_takes
from .incontext import in_context
from .options import Options, check_fits
from .producing import EnqueueMiddleware
from .running import make_call

VARIANTS = 100
"""Jobs of one function that are kept at the most; they differ by the options of calls."""

_PLAIN = frozenset({'task', 'args', 'kwargs', 'headers'})
"""What is in the payload of a call that says nothing to its worker but what to call."""


class Definition:
    """A function, and how its tasks are enqueued and worked on.

    The payload of a task is ``{"task": NAME, "args": […], "kwargs": {…}, "headers": {…}}``, without what is empty.
    Options of a single call that its worker must know are there as well: ``result_ttl``, ``expires`` (s after it was
    enqueued) and, where it is -1, ``max_attempts``.  What a `Context` has given is there as ``context``.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None,
        options: Options,
        job: Job,
        fifo: str | None,
        middleware: tuple[EnqueueMiddleware, ...] = (),
        types: Types | None = None,
        contexts: Contexts = (),
    ) -> None:
        if not callable(function) or isinstance(function, type):
            raise TorrelqueTypeError(f'not a function: {function!r}')
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise TorrelqueTypeError(f'a generator cannot be a task: {function!r}')
        self.function = function
        self.name = check_name(name, 'name') if name is not None else default_name(function)
        self.options = options
        self.fifo = fifo
        """The group of its ordered queue, if it has one."""
        self.middleware = middleware
        """What its calls go through before they are enqueued."""
        self.contexts = contexts
        """What gives and takes what goes along with its calls."""
        self.callee = Callee(function, self.name, types)
        self.signature = self.callee.signature
        """The arguments of a call."""
        converter = self.callee.converter
        self.encode = None if converter is None else converter.encode
        """What makes plain JSON values of the arguments of a call; None where they are sent as they are."""
        self.encode_around = None if converter is None else converter.encode_around
        """The same for a call of which some arguments are left as they are."""
        self.sent: Collection[Kinds] = () if converter is None else converter.sent
        """Kinds of arguments that need none of that."""
        self.decode_result = None if converter is None else converter.decode_result
        """What makes the result of what is kept of it; None where it is kept as it is."""
        for choice in ('group', 'priority'):
            check_fits(getattr(options, choice), choice, self.signature)
        self.keep = job.keep
        """How long (s) the app keeps the final state of a task that has no result."""
        self._job = job._replace(name=self.name)
        self._variants: dict[tuple[float | None, bool, bool, bool, bool], Job] = {}
        self._least, self._most = _count_arguments(self.signature)

    def __repr__(self) -> str:
        return f'<Definition {self.name!r}>'

    # At the producer

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse arguments that are not those of the function."""
        if kwargs or not self._least <= len(args) <= self._most:
            self.callee.check_call(args, kwargs)

    @property
    def spends(self) -> bool:
        """Whether an argument may be one that can be gone through only once: then `unpack` gives it once more."""
        return self.callee.converter is not None and self.callee.converter.spends

    def unpack(self, payload: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call, as the function gets them, of its payload."""
        args, kwargs = payload.get('args', ()), payload.get('kwargs', {})
        if self.callee.converter is not None:
            args, kwargs = self.callee.converter.decode(args, kwargs)
        return tuple(args), kwargs

    def extras(self, options: Options) -> dict[str, Any]:
        """What the payload of a call says of its options."""
        own = self.options
        extras: dict[str, Any] = {}
        if options.result_ttl is not None and options.result_ttl != own.result_ttl:
            extras['result_ttl'] = options.result_ttl
        if options.max_attempts == -1 and own.max_attempts != -1:
            extras['max_attempts'] = -1
        if options.expires is not None or options.deadline is not None:
            # What a deadline leaves is another time for each call, and takes this place then.
            extras['expires'] = options.expires
        if options.headers:
            extras['headers'] = dict(options.headers)
        return extras

    # At the worker

    @functools.cached_property
    def job(self) -> Job:
        """What a worker does with its tasks, where a call said nothing else."""
        self.callee.complete()
        return self._job._replace(call=make_call(self.callee), encode=self.callee.encode_result)

    def job_of(self, task: dict[str, Any]) -> Job:
        """What a worker does with a task."""
        if _PLAIN.issuperset(task):
            return self.job
        ttl, endless = task.get('result_ttl'), task.get('max_attempts') == -1
        if ttl is not None:
            check_seconds(ttl, 'the result_ttl of a task', least=MIN_SECONDS)
        expires = task.get('expires')
        if expires is not None:
            check_seconds(expires, 'the expires of a task')
        takes = 'from' in task and 'flow' in task
        carries = 'context' in task and bool(self.contexts or SHARED)
        key = ttl, endless, expires is not None, takes, carries
        job = self._variants.get(key)
        if job is None:
            job = self.job
            if ttl is not None:
                job = job._replace(result_ttl=ttl)
            if endless:
                job = job._replace(max_attempts=-1)
            if expires is not None:
                job = job._replace(admit=refuse_expired)
            if takes:
                job = job_that_takes(job)
            if carries:
                job = job._replace(call=in_context(job.call, self.contexts))
            if len(self._variants) < VARIANTS:
                self._variants[key] = job
        return job


def default_name(function: Callable[..., Any]) -> str:
    """Module and name of a function.  For the main program the module has the name by which others import it."""
    module, name = getattr(function, '__module__', None), getattr(function, '__qualname__', None)
    if not module or not name:
        raise TorrelqueTypeError(f'{function!r} has no name of its own; give it one')
    if module in ('__main__', '__mp_main__'):
        main = sys.modules.get(module)
        spec, path = getattr(main, '__spec__', None), getattr(main, '__file__', None)
        if spec is not None and spec.name not in ('__main__', '__mp_main__'):
            module = spec.name.removesuffix('.__main__')
        elif path is not None:
            module = os.path.splitext(os.path.basename(path))[0]
    return check_name(f'{module}.{name}', 'the name of a function')


def _count_arguments(signature: inspect.Signature) -> tuple[float, float]:
    """How few and how many arguments, all given by their place, surely fit.  Where one must be given by its name, no
    number fits, which 1 to 0 says."""
    least = most = 0.0
    for parameter in signature.parameters.values():
        required = parameter.default is parameter.empty
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = math.inf
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            most += 1
            least += required
        elif parameter.kind is parameter.KEYWORD_ONLY and required:
            return 1, 0
    return least, most

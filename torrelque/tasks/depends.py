"""Parameters that a worker makes: how they are declared, and what is known of them before any task is run."""

import contextlib
import functools
import inspect
import types
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Hashable,
    Iterator,
    Mapping,
)
from enum import Enum
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar, overload

from torrelque import TorrelqueTypeError
from torrelque.protocol.check import is_async
from torrelque.worker import ChildDelivery, Delivery

from .adapters import members_of
from .hints import Hints, signature_of

T = TypeVar('T')


class Marker:
    """What stands where a value will be.  A function that is called by itself meets it, and is told so."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith('__'):
            raise AttributeError(name)
        raise TorrelqueTypeError(
            f'{name!r} of a value that was not made: a worker makes it, and the function was called without a worker; '
            'give it its value'
        )


class Injected(Marker):
    """The class of `injected`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return 'injected'


class Dependency(Marker):
    """What `Depends` gives: what makes a parameter's value."""

    __slots__ = ('make', 'use_cache')

    def __init__(self, make: Callable[..., Any], use_cache: bool) -> None:
        self.make = make
        self.use_cache = use_cache

    def __repr__(self) -> str:
        return f'Depends({getattr(self.make, "__name__", self.make)})'


injected: Any = Injected()
"""The default of a parameter whose annotation has a `Depends`, so that a call need not give it."""


@overload
def Depends(make: type[T], *, use_cache: bool = True) -> T: ...


@overload
def Depends(make: Callable[..., AsyncGenerator[T, Any]], *, use_cache: bool = True) -> T: ...


@overload
def Depends(make: Callable[..., AsyncIterator[T]], *, use_cache: bool = True) -> T: ...


@overload
def Depends(make: Callable[..., Generator[T, Any, Any]], *, use_cache: bool = True) -> T: ...


@overload
def Depends(make: Callable[..., Iterator[T]], *, use_cache: bool = True) -> T: ...


@overload
def Depends(make: 'Callable[..., contextlib._GeneratorContextManager[T]]', *, use_cache: bool = True) -> T: ...


@overload
def Depends(make: 'Callable[..., contextlib._AsyncGeneratorContextManager[T]]', *, use_cache: bool = True) -> T: ...


@overload
def Depends(make: Callable[..., Awaitable[T]], *, use_cache: bool = True) -> T: ...


@overload
def Depends(make: Callable[..., T], *, use_cache: bool = True) -> T: ...


def Depends(make: Callable[..., Any], *, use_cache: bool = True) -> Any:  # noqa: N802 - it is written like a class
    """Have a parameter made in the worker, for each task, where the function runs; it is not sent.

    ``session: Annotated[Session, Depends(make_session)] = injected``, or ``session: Session = Depends(make_session)``.

    :param make: a function, a coroutine function, a class; a generator function, or one that contextlib has made a
        context manager of, whose rest is run when the function has ended, be it by an error or a cancellation.  Its own
        parameters may be such, too; one that is annotated `torrelque.worker.Delivery` gets the delivery.
    :param use_cache: whether those who depend on the same thing get the same value in one task.
    :raises TorrelqueTypeError: what is to make the value cannot be called.
    """
    if not callable(make):
        raise TorrelqueTypeError(f'Depends needs something to call, not {make!r}')
    return Dependency(make, use_cache)


class Way(Enum):
    """How a value comes of what a call returns."""

    PLAIN = 'as it is'
    AWAIT = 'awaited'
    ENTER = 'entered'
    ENTER_ASYNC = 'entered, asynchronously'


class Need(NamedTuple):
    """A value that is to be made."""

    make: Callable[..., Any]
    """What the declaration names; values are cached by it."""
    call: Callable[..., Any]
    """What is called: `make` itself, or a context manager of it."""
    way: Way
    needs: 'Mapping[str, Need]'
    """Parameters that are made, too."""
    deliveries: tuple[str, ...]
    """Parameters that get the delivery."""
    use_cache: bool

    @property
    def key(self) -> Any:
        """By what the value is found again in the same task: by what makes it.  A bound method is another object each
        time that it is named, and equal to the others."""
        return self.make if isinstance(self.make, Hashable) else id(self.make)


def find_needs(
    owner: str, function: Callable[..., Any], signature: inspect.Signature, hints: Hints, asynchronous: bool
) -> dict[str, Need]:
    """The parameters of a function that a worker makes.

    :param owner: the name of the function, for errors.
    :param asynchronous: whether it is a coroutine function; only those have dependencies that are asynchronous.
    :raises TorrelqueTypeError: a declaration cannot be meant.
    :raises NameError: an annotation cannot be resolved yet.
    """
    return _Finder(owner, asynchronous).find(function, signature, hints, ())


def find_made(signature: inspect.Signature) -> list[str]:
    """The parameters that a worker makes by what their defaults say, whether or not their annotations are resolved."""
    return [
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is injected or isinstance(parameter.default, Dependency)
    ]


def call_signature(owner: str, signature: inspect.Signature, made: Collection[str]) -> inspect.Signature:
    """The signature of a call, which gives no parameter that is made.  What stands behind one is given by its name.

    :raises TorrelqueTypeError: such a parameter could only be given by its place.
    """
    kept: list[inspect.Parameter] = []
    met = None
    for parameter in signature.parameters.values():
        if parameter.name in made:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TorrelqueTypeError(f'{owner}: {parameter.name!r} is made by the worker, so it must have a name')
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                met = met or parameter.name
            continue
        if met is not None and parameter.kind is parameter.VAR_POSITIONAL:
            raise TorrelqueTypeError(f'{owner}: {met!r} is made by the worker; it must stand behind *{parameter.name}')
        if met is not None and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            parameter = parameter.replace(kind=parameter.KEYWORD_ONLY)
        kept.append(parameter)
    return signature.replace(parameters=kept)


class _Finder:
    """Finds what the parameters of one function need, and what that needs."""

    def __init__(self, owner: str, asynchronous: bool) -> None:
        self._owner = owner
        self._asynchronous = asynchronous

    def find(
        self, function: Callable[..., Any], signature: inspect.Signature, hints: Hints, above: tuple[Any, ...]
    ) -> dict[str, Need]:
        """What the parameters of something need; ``above`` is what needs it."""
        needs: dict[str, Need] = {}
        for name, parameter in signature.parameters.items():
            dependency = _declared(parameter, hints)
            if dependency is None:
                continue
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TorrelqueTypeError(f'{self._owner}: Depends is for one parameter, and {name!r} stands for many')
            needs[name] = self._need(name, dependency, above)
        return needs

    def _need(self, name: str, dependency: Dependency, above: tuple[Any, ...]) -> Need:
        make = dependency.make
        if any(make is one for one in above):
            raise TorrelqueTypeError(f'{self._owner}: what makes {name!r} depends on itself: {make!r}')
        call, way = _way_of(make)
        if way in (Way.AWAIT, Way.ENTER_ASYNC) and not self._asynchronous:
            raise TorrelqueTypeError(
                f'{self._owner}: what makes {name!r} is asynchronous, {make!r}, and the function is a plain one, '
                'which runs in a thread or a process; make that a coroutine function, or this a plain one'
            )
        try:
            signature = signature_of(make)
        except (TypeError, ValueError):
            # Some of the interpreter's own classes do not tell what they take.
            return Need(make, call, way, {}, (), dependency.use_cache)
        hints = Hints(make, signature)
        needs = self.find(make, signature, hints, (*above, make))
        deliveries = []
        for parameter in signature.parameters.values():
            if parameter.name in needs:
                fine = parameter.kind is not parameter.POSITIONAL_ONLY
            elif _is_delivery(hints.found.get(parameter.name)):
                deliveries.append(parameter.name)
                fine = parameter.kind is not parameter.POSITIONAL_ONLY
            else:
                if parameter.name in hints.missing and parameter.default is parameter.empty:
                    raise NameError(str(hints.missing[parameter.name]))
                various = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                fine = various or parameter.default is not parameter.empty
            if not fine:
                raise TorrelqueTypeError(
                    f'{self._owner}: nobody gives {parameter.name!r} to what makes {name!r}, {make!r}: its parameters '
                    'have names, and a Depends, a default, or the annotation torrelque.worker.Delivery'
                )
        return Need(make, call, way, needs, tuple(deliveries), dependency.use_cache)


def _declared(parameter: inspect.Parameter, hints: Hints) -> Dependency | None:
    """The dependency of a parameter, if it has one.

    :raises NameError: it may have, in an annotation that cannot be resolved yet.
    """
    if isinstance(parameter.default, Dependency):
        return parameter.default
    hint = hints.found.get(parameter.name)
    for member in (hint, *members_of(hint)):
        if typing.get_origin(member) is Annotated:
            for extra in typing.get_args(member)[1:]:
                if isinstance(extra, Dependency):
                    return extra
    if parameter.default is injected:
        if parameter.name in hints.missing:
            raise NameError(str(hints.missing[parameter.name])) from hints.missing[parameter.name]
        raise TorrelqueTypeError(f'the default of {parameter.name!r} is injected, and its annotation has no Depends')
    return None


def _way_of(make: Callable[..., Any]) -> tuple[Callable[..., Any], Way]:
    """What is called to make a value, and what is done with what that returns."""
    if isinstance(make, type):
        return make, Way.PLAIN
    plain = make
    while isinstance(plain, functools.partial):
        plain = plain.func
    routine: Any = plain if inspect.isroutine(plain) else getattr(plain, '__call__', plain)  # noqa: B004
    if inspect.isasyncgenfunction(routine):
        return contextlib.asynccontextmanager(make), Way.ENTER_ASYNC
    if inspect.isgeneratorfunction(routine):
        return contextlib.contextmanager(make), Way.ENTER
    if is_async(make):
        return make, Way.AWAIT
    within = inspect.unwrap(routine)
    if inspect.isasyncgenfunction(within):
        return _managed(make), Way.ENTER_ASYNC
    if inspect.isgeneratorfunction(within):
        return _managed(make), Way.ENTER
    return make, Way.PLAIN


def _managed(make: Callable[..., Any]) -> Callable[..., Any]:
    """What is called of a decorated generator function: as a rule, `contextlib` has decorated it."""

    def call(**needs: Any) -> Any:
        made = make(**needs)
        if isinstance(made, types.GeneratorType):
            return contextlib.contextmanager(lambda: made)()
        if isinstance(made, types.AsyncGeneratorType):
            return contextlib.asynccontextmanager(lambda: made)()
        return made

    return call


def _is_delivery(hint: Any) -> bool:
    kinds = members_of(hint) or (hint,)
    return any(isinstance(kind, type) and issubclass(kind, (Delivery, ChildDelivery)) for kind in kinds)

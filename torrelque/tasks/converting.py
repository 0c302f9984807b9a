"""The arguments of a function's calls and its result, on their way to plain JSON values and back.

Most arguments are texts and numbers, which JSON carries as they are.  So the kinds of arguments that were found to need
no conversion are remembered, and a call whose arguments are of such kinds costs no more than to look that up.
"""

import collections.abc
import inspect
import math
import operator
import reprlib
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from torrelque import TorrelqueTypeError
from torrelque.worker import Reject

from .adapters import SCALARS, Adapter, Plain, Types, UnfitError, is_free, members_of, widened
from .hints import RETURN, Hints, Key, unpacked
from .work import Work

NOTHING: Plain = Plain(frozenset(), frozenset())
Kinds = tuple[type | str, ...]
KNOWN = 100
"""How many combinations of kinds of arguments are remembered at the most."""
AWAITED = (collections.abc.Awaitable, collections.abc.Coroutine)

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
# The fields of an object that came as JSON may be secret, which only its class knows to hide.
_short.maxdict = 0
SECRET = 'Secret'
"""What is in the names of pydantic's types whose values are not shown."""


class OneGo(NamedTuple):
    """What converts all arguments of a call at once; None where they are converted one by one."""

    out: Callable[[Any], tuple[Any, ...]] | None
    into: Callable[[Any], tuple[Any, ...]] | None


NO_GO = OneGo(None, None)

RESULT = 'the result'
"""What a result is called."""


class Parameter:
    """A parameter, or the result, whose annotation says what it carries.

    :param owner: the name of the function.
    :param what: what it is, for errors.
    """

    __slots__ = ('into', 'measured', 'once', 'out', '_adapter', '_annotation', '_owner', '_types', '_what')

    def __init__(
        self, owner: str, what: str, annotation: Any, types: Types, plain: Plain | None, adapter: Adapter | None
    ) -> None:
        # Legend.  _owner, _what: as above.  _types: what makes the adapter, where one is needed after all.
        # measured: kinds of plain values that are no floats in JSON, or not exactly, for all their kind.
        self.out, self.into = plain or NOTHING
        self.measured = self.out & {float} if int in self.into else self.out & {float, int}
        self.once = widened(annotation)[1]
        self._annotation = annotation
        self._owner = owner
        self._what = what
        self._types = types
        self._adapter = adapter

    @property
    def is_plain(self) -> bool:
        """Whether values are sent as they are, which is not known by their kinds alone."""
        return not self.once and not self.measured and getattr(self._adapter, 'is_plain', bool(self.out))

    @property
    def is_direct(self) -> bool:
        """Whether msgspec makes values of what has come, and of what has come for other parameters, in one go."""
        return bool(getattr(self._adapter, 'is_direct', self._adapter is None))

    @property
    def wide(self) -> Any:
        """The annotation in the words of the libraries."""
        return widened(self._annotation)[0]

    @property
    def adapter(self) -> Adapter:
        """What carries values that are not of a plain kind."""
        if self._adapter is None:
            self._adapter = self._types.adapter(self.wide)
        assert self._adapter is not None
        return self._adapter

    def encode(self, value: Any) -> Any:
        """Plain JSON values of a value.

        :raises TorrelqueTypeError: it is not what the annotation says, or would not arrive as it is.
        """
        if type(value) in self.out and (type(value) not in self.measured or is_float(value)):
            return value
        try:
            if self.once and isinstance(value, collections.abc.Iterable) and not isinstance(value, list):
                value = [*value]
            adapter = self._adapter or self.adapter
            # A result is read by those who have its JSON alone, too, and may be written otherwise.
            encode = getattr(adapter, 'encode_result', adapter.encode) if self._what == RESULT else adapter.encode
            return encode(value)
        except Exception as exc:
            raise TorrelqueTypeError(self._refusal(value, exc)) from exc

    def decode(self, value: Any) -> Any:
        """The value that plain JSON values stand for.

        :raises TorrelqueTypeError: they are not what the annotation says.
        """
        if type(value) in self.into:
            return value
        try:
            if type(value) is int and float in self.into:
                return float(value)
            return (self._adapter or self.adapter).decode(value)
        except Exception as exc:
            raise TorrelqueTypeError(self._refusal(value, exc)) from exc

    def _refusal(self, value: Any, error: Exception) -> str:
        wanted = inspect.formatannotation(self._annotation)
        given = type(value).__name__
        if SECRET not in wanted:
            given = f'{_short.repr(value)} ({given})'
        return f'{self._owner}: {self._what} must be {wanted}, not {given}: {reason_of(error)}'


class Converter:
    """The parameters of a function and its result, each with what converts it, if anything does.

    :param name: the name of the function, for errors.
    :param signature: the arguments of a call.
    :raises TorrelqueTypeError: an annotation cannot be carried.
    """

    def __init__(self, name: str, signature: inspect.Signature, hints: Hints, types: Types) -> None:
        # Legend.  _by_place: of parameters that are given by their place.  _rest: of all arguments behind them.
        # _by_name: of those that are given by their names.  _others: of all other names.  _floats: combinations of
        # kinds of arguments that are sent as they are, unless some float is no number, with the places of floats,
        # and of ints that are to be floats.
        # _goes: by the number of arguments, what converts them all in one go.  _at_last: whether no name is waited for
        # any more.
        self._name = name
        self._signature = signature
        self._hints = hints
        self._types = types
        self._by_place: list[Parameter | None] = []
        self._rest: Parameter | None = None
        self._by_name: dict[str, Parameter | None] = {}
        self._others: Parameter | None = None
        self._result: Parameter | None = None
        self._floats: dict[Kinds, list[int]] = {}
        self._goes: dict[int, OneGo] = {}
        self._at_last = False
        self.sent: set[Kinds] = set()
        """Combinations of kinds of arguments that are sent as they are, by `kinds_of`."""
        self.taken: set[Kinds] = set()
        """Combinations that are taken as they are.  Whoever calls `encode` and `decode` may look here before."""
        self.spends = False
        """Whether some parameter takes what can be gone through only once, which `encode` does then."""
        self.missing: dict[str, Exception] = {}
        """What could not be resolved yet, and why: names of parameters, or ``return``."""
        self.converts = False
        """Whether anything is converted or checked."""
        self._make(at_last=False)

    def complete(self) -> None:
        """Resolve what names were missing for.

        :raises TorrelqueTypeError: they still are, or an annotation cannot be carried.
        """
        self._hints.look_again()
        missing = self.missing
        try:
            self._make(at_last=True)
        except Exception:
            # What is half made must not be taken for whole by the next call.
            self.missing = missing
            raise

    # At both ends

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments of a call as plain JSON values.

        :raises TorrelqueTypeError: an argument is not what its annotation says.
        """
        places = self._floats.get(kinds_of(args, kwargs)) if self._floats else None
        if places is not None:
            values = (*args, *kwargs.values())
            if all(is_float(values[place]) for place in places):
                return args, kwargs
        if self.missing:
            self.complete()
        if not kwargs and (together := self._in_one_go(len(args)).out) is not None:
            try:
                arrived = together(args)
                if arrived == args:
                    return arrived, kwargs
            except Exception:
                # What does not fit may be mended, and is told below where it may not.
                pass
        pairs = self._pairs(args, kwargs)
        encoded = [value if it is None else it.encode(value) for value, it in pairs]
        # Where something was converted, which a look at the identities tells fast, nothing is to be remembered.
        if all(map(operator.is_, encoded, (*args, *kwargs.values()))):
            self._remember_sent(pairs, kinds_of(args, kwargs))
        if not kwargs:
            return encoded, kwargs
        return encoded[: len(args)], dict(zip(kwargs, encoded[len(args) :], strict=True))

    def encode_around(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], leave: Callable[[Any], bool]
    ) -> tuple[Any, dict[str, Any]]:
        """As `encode`, of a call of which some arguments are left as they are.

        :raises TorrelqueTypeError: another argument is not what its annotation says.
        """
        if self.missing:
            self.complete()
        encoded = [
            value if it is None or leave(value) else it.encode(value) for value, it in self._pairs(args, kwargs)
        ]
        return encoded[: len(args)], dict(zip(kwargs, encoded[len(args) :], strict=True))

    def decode(self, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments of a task.

        :raises Reject: an argument is not what its annotation says, which no further attempt will mend.
        """
        try:
            if self.missing:
                self.complete()
            if not kwargs and (together := self._in_one_go(len(args)).into) is not None:
                try:
                    return together(args), kwargs
                except Exception:
                    # What does not fit may be mended, and is told below where it may not.
                    pass
            pairs = self._pairs(args, kwargs)
            decoded = [value if it is None else it.decode(value) for value, it in pairs]
        except TorrelqueTypeError as exc:
            raise Reject(str(exc)) from exc
        unchanged = all(map(operator.is_, decoded, (*args, *kwargs.values()))) and len(self.taken) < KNOWN
        if unchanged and all(it is None or type(value) in it.into for value, it in pairs):
            self.taken.add(kinds_of(args, kwargs))
        if not kwargs:
            return decoded, kwargs
        return decoded[: len(args)], dict(zip(kwargs, decoded[len(args) :], strict=True))

    @property
    def encode_result(self) -> Callable[[Any], Any] | None:
        """What makes plain JSON values of a result; None where it goes as it is."""
        return None if self._result is None else self._encode_result

    def decode_result(self, value: Any) -> Any:
        """A result, of plain JSON values.  None is no result, whatever the annotation says.

        :raises TorrelqueTypeError: the values are not what the annotation says.
        """
        if self.missing:
            self.complete()
        return value if self._result is None or value is None else self._result.decode(value)

    # Parts

    def _encode_result(self, value: Any) -> Any:
        return value if self._result is None or value is None else self._result.encode(value)

    def _make(self, at_last: bool) -> None:
        """Find what converts each parameter; ``at_last`` no name is waited for any more."""
        self.missing = {}
        self._at_last = at_last
        self._goes.clear()
        kinds = inspect.Parameter
        self._by_place, self._by_name, self._rest, self._others = [], {}, None, None
        for parameter in self._signature.parameters.values():
            name, kind = parameter.name, parameter.kind
            if kind is kinds.VAR_KEYWORD and (names := self._unpacked(name)) is not None:
                self._by_name |= {each: self._convert(each, *key) for each, key in names.items()}
                continue
            required = parameter.default is parameter.empty and kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
            found = self._of(name, parameter.default is None, required)
            if kind is kinds.VAR_POSITIONAL:
                self._rest = found
            elif kind is kinds.VAR_KEYWORD:
                self._others = found
            if kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD):
                self._by_place.append(found)
            if kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY):
                self._by_name[name] = found
        self._result = self._of(RETURN, False, False)
        every = [*self._by_place, self._rest, *self._by_name.values(), self._others]
        self.converts = any(it is not None for it in [*every, self._result])
        self.spends = any(it is not None and it.once for it in every)

    def _unpacked(self, name: str) -> dict[str, Key] | None:
        """The keyword arguments that a typed dict has."""
        try:
            return unpacked(self._hints.found.get(name))
        except NameError as exc:
            self._wait_for(name, exc)
            return {}

    def _of(self, name: str, optional: bool, required: bool) -> Parameter | None:
        """What converts a parameter.  Where None is its default, None is taken, too."""
        if name in self._hints.missing:
            return self._wait_for(name, self._hints.missing[name])
        hint = self._hints.found.get(name, Any)
        if name == RETURN:
            hint = _given(_awaited(hint))
        if hint in (None, type(None), typing.NoReturn, getattr(typing, 'Never', None)) and name == RETURN:
            return None
        return self._convert(name, typing.Optional[hint] if optional and not is_free(hint) else hint, required)  # noqa: UP045

    def _wait_for(self, name: str, error: Exception) -> Parameter | None:
        """What converts a parameter whose annotation has a name that is not there: nothing yet, plain JSON at last."""
        if not self._at_last:
            self.missing[name] = error
            return None
        text = self._hints.text_of(name)
        reason = f'the annotation of {_what(name, "parameter")}, {text}, cannot be resolved: {reason_of(error)}; '
        if isinstance(error, NameError):
            reason += (
                'what it names must be there, in the module, when the first task is made or run, and not under '
                'TYPE_CHECKING only'
            )
        else:
            reason += 'it must be a type'
        adapter = self._leniently(Any, reason, False)
        if adapter is None:
            raise TorrelqueTypeError(f'{self._name}: {reason}') from error
        return Parameter(self._name, _what(name), text, self._types, SCALARS, adapter)

    def _convert(self, name: str, hint: Any, required: bool) -> Parameter | None:
        if is_free(hint) or any(map(is_free, members_of(hint))):
            return None
        plain: Plain | None = getattr(self._types, 'plain', lambda hint: None)(hint)
        try:
            adapter = None if plain is not None else self._types.adapter(widened(hint)[0])
        except NameError as exc:
            return self._wait_for(name, exc)
        except Exception as exc:
            adapter = self._leniently(hint, reason_of(exc), required)
            if adapter is None:
                raise TorrelqueTypeError(
                    f'{self._name}: {_what(name, "parameter")} is annotated {inspect.formatannotation(hint)}, '
                    f'which cannot be carried: {reason_of(exc)}'
                ) from exc
            plain = SCALARS
        if plain is None and adapter is None:
            return None
        if adapter is not None and not (hasattr(adapter, 'encode') and hasattr(adapter, 'decode')):
            raise TorrelqueTypeError(f'{self._name}: the adapter of {_what(name)} must encode and decode: {adapter!r}')
        return Parameter(self._name, _what(name), hint, self._types, plain, adapter)

    def _leniently(self, hint: Any, reason: str, required: bool) -> Adapter | None:
        leniently = getattr(self._types, 'leniently', None)
        return None if leniently is None else leniently(hint, reason, required)

    def _in_one_go(self, count: int) -> OneGo:
        """What converts so many arguments, all given by their place, at once."""
        found = self._goes.get(count)
        if found is None:
            if count > len(self._by_place):
                return NO_GO
            found = self._goes[count] = self._make_one_go(self._by_place[:count])
        return found

    def _make_one_go(self, given: list[Parameter | None]) -> OneGo:
        them = [it for it in given if it is not None]
        # Where all is known by the kinds of the arguments, those are remembered, which is cheaper still.
        by_kinds = all(it.out for it in them)
        make = getattr(self._types, 'together', None)
        if by_kinds or make is None or not all(it.is_direct for it in them):
            return NO_GO
        together = make([Any if it is None else it.wide for it in given])
        return OneGo(together if all(it.is_plain for it in them) else None, together)

    def _pairs(self, args: Any, kwargs: dict[str, Any]) -> list[tuple[Any, Parameter | None]]:
        """Each argument, and what converts it."""
        them = self._by_place
        if len(args) > len(them):
            them = [*them, *[self._rest] * (len(args) - len(them))]
        pairs = [*zip(args, them, strict=False)]
        if kwargs:
            pairs += zip(kwargs.values(), map(self._named, kwargs), strict=True)
        return pairs

    def _remember_sent(self, pairs: list[tuple[Any, Parameter | None]], kinds: Kinds) -> None:
        """Remember the kinds of arguments that are sent as they are, unless something but their kinds says so."""
        if not all(it is None or type(value) in it.out for value, it in pairs):
            return
        floats = [place for place, (value, it) in enumerate(pairs) if it is not None and type(value) in it.measured]
        if len(self.sent) + len(self._floats) >= KNOWN:
            return
        if floats:
            self._floats[kinds] = floats
        else:
            self.sent.add(kinds)

    def _named(self, name: str) -> Parameter | None:
        return self._by_name.get(name, self._others)


def is_float(value: float) -> bool:
    """Whether a float, or an int that is to be one, is exactly one that JSON has a number for."""
    if type(value) is float:
        return math.isfinite(value)
    try:
        return float(value) == value
    except OverflowError:
        return False


def kinds_of(args: Any, kwargs: dict[str, Any]) -> Kinds:
    """What is remembered of arguments: the kinds of those that are given by their place, and names and kinds of those
    that are given by their names."""
    return (*map(type, args), *kwargs, *map(type, kwargs.values()))


def reason_of(error: BaseException) -> str:
    """An error's reason, for the end of a line."""
    text, kind = ' '.join(str(error).split()), type(error).__name__
    whole = isinstance(error, (UnfitError, TorrelqueTypeError)) or kind == 'ValidationError'
    return text if whole and text else f'{kind}: {text}'


def _what(name: str, noun: str = 'argument') -> str:
    return RESULT if name == RETURN else f'{noun} {name!r}'


def _awaited(hint: Any) -> Any:
    """What a function's result is, of one that returns something to be awaited."""
    return typing.get_args(hint)[-1] if typing.get_origin(hint) in AWAITED else hint


def _given(hint: Any) -> Any:
    """What a function's result is, of one that may return work whose result is that."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union or origin is types.UnionType:
        return typing.Union[tuple(map(_given, parts))]  # noqa: UP007
    kind = hint if origin is None else origin
    if not isinstance(kind, type) or not issubclass(kind, Work):
        return hint
    result = parts[0] if parts else Any
    return list[result] if kind.gives_list else result  # type: ignore[valid-type]

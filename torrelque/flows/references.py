"""Results that are not there yet, in the arguments of calls: what stands for them, and where they are to go."""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, Protocol

from torrelque import TorrelqueTypeError

__all__ = ['Found', 'Reference', 'has_references', 'take_references']

Path = list[str | int]
"""Where in a payload something is: keys of mappings, and places in lists."""


class Source(Protocol):
    """A step, as far as a reference to its result has to know it."""

    @property
    def known_as(self) -> str: ...


class Reference:
    """Stands for the result of one step, or for a list of results, where an argument is to be.

    Type checkers take it for the result.  It can be passed on, and nothing else: any other use raises.
    """

    __slots__ = ('_kind', '_sources')

    def __init__(self, sources: Sequence[Source], kind: str) -> None:
        # Legend.  _kind: 'one', the result of a step; 'all', the list of all results; 'first', the first that is there.
        object.__setattr__(self, '_sources', tuple(sources))
        object.__setattr__(self, '_kind', kind)

    def __repr__(self) -> str:
        names = ', '.join(source.known_as for source in _sources(self))
        return f'<the {"result" if _kind(self) != "all" else "results"} of {names}>'

    def _refuse(self, *args: object) -> NoReturn:
        raise TorrelqueTypeError(
            f'{self!r} is not there before its flow runs: it can be an argument of another step, and nothing else'
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith('__'):
            # What looks for a protocol, such as `copy`, is told that there is none.
            raise AttributeError(name)
        self._refuse()

    __setattr__ = __delattr__ = __call__ = __getitem__ = __setitem__ = __delitem__ = _refuse
    __bool__ = __len__ = __iter__ = __contains__ = __reversed__ = __next__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _refuse
    __str__ = __format__ = __bytes__ = __int__ = __float__ = __complex__ = __index__ = __round__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __rmatmul__ = _refuse
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse
    __divmod__ = __rdivmod__ = __pow__ = __rpow__ = _refuse
    __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _refuse
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _refuse
    __neg__ = __pos__ = __abs__ = __invert__ = _refuse
    __enter__ = __exit__ = __aenter__ = __aexit__ = __aiter__ = __anext__ = __await__ = _refuse
    __reduce__ = __reduce_ex__ = __copy__ = __deepcopy__ = _refuse


def _sources(reference: Reference) -> tuple[Any, ...]:
    found: tuple[Any, ...] = object.__getattribute__(reference, '_sources')
    return found


def _kind(reference: Reference) -> str:
    found: str = object.__getattribute__(reference, '_kind')
    return found


def has_references(value: Any) -> bool:
    """Whether a reference is anywhere in a value: in lists, tuples and the values of dicts."""
    if isinstance(value, Reference):
        return True
    kind = type(value)
    if kind is list or kind is tuple:
        return any(map(has_references, value))
    return kind is dict and any(map(has_references, value.values()))


Found = tuple[Path, tuple[Any, ...], str]
"""Where a reference was, the steps whose results it stands for, and how."""


def take_references(value: Any, path: Path, found: list[Found]) -> Any:
    """A value with None in the place of each reference, and lists in that of tuples; where they were goes to ``found``.
    """
    if isinstance(value, Reference):
        found.append((path, _sources(value), _kind(value)))
        return None
    kind = type(value)
    if kind is list or kind is tuple:
        return [take_references(each, [*path, place], found) for place, each in enumerate(value)]
    if kind is dict:
        return {key: take_references(each, [*path, key], found) for key, each in _by_text(value)}
    return value


def _by_text(value: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if not isinstance(key, str) and has_references(each):
            raise TorrelqueTypeError(f'a dict with a result in it has texts as its keys, not {key!r}')
        yield key, each

"""A value's bytes: what the payloads, results and progress of tasks are made with, and read with."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .error import TorrelqueTypeError


class TorrelqueSerialiser(Protocol):
    """What turns tasks, results and progress into bytes and back.  A module with both functions will do."""

    def dumps(self, value: Any, /) -> bytes | str:
        """Make bytes, or text, of a value."""
        ...

    def loads(self, data: bytes, /) -> Any:
        """Make the value of its bytes."""
        ...


class Dumps(Protocol):
    """A function that makes bytes, or text, of a value."""

    def __call__(self, value: Any, /) -> bytes | str: ...


class Loads(Protocol):
    """A function that makes a value of its bytes."""

    def __call__(self, data: bytes, /) -> Any: ...


class TorrelqueTaskSerialiser(NamedTuple):
    """A pair of functions that turn a value into bytes and bytes into the value."""

    dumps: Dumps
    """Makes bytes, or text, of a value."""
    loads: Loads
    """Makes the value of its bytes."""


def _make_dumps() -> Callable[[Any], bytes]:
    """An encoder of compact JSON.

    `json.JSONEncoder.encode` makes the encoder in C anew for each value, which costs more than a small value itself.
    No ``markers`` dict is kept (it detects circular references and costs as much as a small value), so a circular value
    raises `RecursionError` instead of `ValueError`.
    """
    encoder = json.JSONEncoder(separators=(',', ':'))
    make = getattr(json.encoder, 'c_make_encoder', None)
    if make is None:
        return lambda value: encoder.encode(value).encode()
    escape = json.encoder.encode_basestring_ascii
    chunks = make(None, encoder.default, escape, None, ':', ',', False, False, True)
    return lambda value: ''.join(chunks(value, 0)).encode()


_decoder = json.JSONDecoder()
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]  # typeshed lacks it


def _loads(data: bytes) -> Any:
    text = data.decode()
    try:
        # The scanner does not look for white space around the value, which takes `decode` as long as a small value.
        value, end = _scan(text, 0)
    except StopIteration:
        # It begins with white space, or is no value, which `decode` tells.
        return _decoder.decode(text)
    return value if end == len(text) else _decoder.decode(text)


JSON = TorrelqueTaskSerialiser(_make_dumps(), _loads)
"""The default: compact JSON, encoder and decoder made once."""


def serialise(serialiser: TorrelqueSerialiser, value: Any, what: str) -> bytes:
    """A value's bytes, or the error of the serialiser as one of ours."""
    try:
        data = serialiser.dumps(value)
        if type(data) is bytes:
            return data
        if isinstance(data, str):
            return data.encode()
    except Exception as exc:
        raise TorrelqueTypeError(f'{what} cannot be serialised: {type(exc).__name__}: {exc}') from exc
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TorrelqueTypeError(f'the serialiser must make bytes of {what}, not {type(data).__name__}')
    return bytes(data)


def check_serialiser(serialiser: TorrelqueSerialiser) -> TorrelqueSerialiser:
    """What turns values into bytes and back; refuse what does not."""
    if not callable(getattr(serialiser, 'dumps', None)) or not callable(getattr(serialiser, 'loads', None)):
        raise TorrelqueTypeError(f'a serialiser must have dumps and loads: {serialiser!r}')
    return serialiser

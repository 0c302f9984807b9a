"""Kinds of values that a file has: each says what is expected, in words, and reads what was written.

msgspec checks the plain ones.  A kind of ours has a ``read`` in its ``extra``, which returns the value or raises a
``ValueError``; ``spell`` there writes it as the file has it.
"""

import re
from typing import Annotated, Any

from msgspec import Meta

from . import amounts

_TARGET = re.compile(r'[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*')
_LEAST = 0.001
"""s, which is the shortest time of what may not be none at all."""


def _target(value: Any) -> str:
    if not isinstance(value, str) or not _TARGET.fullmatch(value):
        raise ValueError(f'{value!r} is no module:name, such as shop.tasks:app')
    return value


def _targets(value: Any) -> str:
    """One target, or several with commas between them."""
    if not isinstance(value, str) or not value.strip(','):
        return _target(value)
    return ','.join(_target(one.strip()) for one in value.split(',') if one)


def _serialiser(value: Any) -> str:
    """A module, or something in a module, that has ``dumps`` and ``loads``."""
    if not isinstance(value, str) or not _TARGET.fullmatch(value if ':' in value else f'{value}:loads'):
        raise ValueError(f'{value!r} is no module or module:name, such as orjson or shop.codec:codec')
    return value


def _address(value: Any) -> tuple[str, int]:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is no address, such as 127.0.0.1:8765')
    return amounts.place(value)


def _spell_address(value: tuple[str, int]) -> str:
    host, port = value
    return f'{f"[{host}]" if ":" in host else host}:{port}'


def _some_time(value: Any) -> float:
    found = amounts.length(value)
    if found < _LEAST:
        raise ValueError(f'{value!r} is no time from 1 ms on')
    return found


def _attempts(value: Any) -> int:
    if type(value) is not int or value != -1 and not 0 < value < 2**31:
        raise ValueError(f'{value!r} is no number from 1 on, nor -1, which is without end')
    return value


def _names(value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise ValueError(f'{value!r} is no list of names, such as ["mail", "news"]')
    if len({*found}) < len(found):
        raise ValueError(f'{value!r} has a name twice')
    return tuple(found)


def _shares(value: Any) -> tuple[str, ...] | dict[str, int]:
    if not isinstance(value, dict):
        found = _names(value)
        if not found:
            raise ValueError('a list of queues has one at least')
        return found
    weights = [type(one) is int and one > 0 for one in value.values()]
    if not value or not all(weights) or '' in value:
        raise ValueError(f'{value!r} is no table of queues and weights, such as {{ mail = 3, news = 1 }}')
    return dict(value)


def _start_rate(value: Any) -> tuple[int, float]:
    found = amounts.rate_of(value)
    if not isinstance(found, tuple):
        raise ValueError(f'{value!r} is no rate, such as "50/s", "100/m" or "5/10s"')
    return found


def _number(value: Any) -> float:
    """A number, or a time in seconds."""
    if isinstance(value, str):
        return amounts.seconds(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**53:
        raise ValueError(f'{value!r} is no number, and no time such as "5m"')
    return value


def _webhook(value: Any) -> str:
    # What it is may be a secret, and is not told.
    if not isinstance(value, str) or not re.fullmatch(r'https?://[^\s/]+\S*', value):
        raise ValueError('a webhook is an address that begins with https:// or http://')
    return value


def _url(value: Any) -> str:
    from torrelque.tasks.address import make_client

    if not isinstance(value, str) or not value:
        raise ValueError('it is no address of a server, such as redis://localhost')
    make_client(value)
    return value


def _urls(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError('they are no list of addresses of servers, such as ["redis://one", "redis://two"]')
    found = tuple(map(_url, value))
    if len({*found}) < len(found):
        raise ValueError('the list has a server twice')
    return found


def _instants(value: Any) -> tuple[str, ...]:
    found = value if isinstance(value, list) else [value]
    if not found:
        raise ValueError('there is no instant in it')
    return tuple(map(_instant, found))


def _instant(value: Any) -> str:
    """An instant as ISO 8601; a ``datetime`` of TOML is one."""
    if hasattr(value, 'isoformat') and hasattr(value, 'timestamp'):
        return str(value.isoformat())
    if isinstance(value, str):
        try:
            amounts.instant(value)
        except ValueError:
            pass
        else:
            return value
    raise ValueError(f'{value!r} is no instant, such as 2026-11-29T14:00 or 2026-11-29T14:00Z')


def _spell_slots(value: float | None) -> int | str:
    return value if isinstance(value, int) else amounts.spelt(value)


def _kind(read: Any, spell: Any = None, **more: Any) -> Meta:
    return Meta(extra={'read': read, 'spell': spell or (lambda value: value), **more})


ShardCount = Annotated[int, Meta(ge=1, le=192, description='a whole number from 1 to 192')]
Count = Annotated[int, Meta(ge=1, lt=2**31, description='a whole number from 1 on')]
Processes = Annotated[int, Meta(ge=1, le=1000, description='a whole number from 1 to 1000')]
Priority = Annotated[int, Meta(ge=-100, le=100, description='a whole number from -100 to 100')]
Share = Annotated[float, Meta(gt=0, le=1, description='a number above 0 and up to 1')]
Factor = Annotated[float, Meta(ge=1, le=1_000_000, description='a number from 1 on')]
Text = Annotated[str, Meta(min_length=1, description='a text')]
Flag = Annotated[bool, Meta(description='true or false')]

Address = Annotated[tuple[str, int], _kind(_address, _spell_address)]
Attempts = Annotated[int, _kind(_attempts)]
Concurrency = Annotated[float | None, _kind(amounts.concurrency_of, _spell_slots)]
Instant = Annotated[str, _kind(_instant)]
Instants = Annotated[tuple[str, ...], _kind(_instants)]
Length = Annotated[float, _kind(amounts.length, amounts.spell)]
Names = Annotated[tuple[str, ...], _kind(_names)]
Number = Annotated[float, _kind(_number)]
Rate = Annotated[tuple[int, float] | float | None, _kind(amounts.rate_of, amounts.spelt)]
Serialiser = Annotated[str, _kind(_serialiser)]
Shares = Annotated[tuple[str, ...] | dict[str, int], _kind(_shares)]
SomeTime = Annotated[float, _kind(_some_time, amounts.spell)]
StartRate = Annotated[tuple[int, float], _kind(_start_rate, amounts.spelt)]
Target = Annotated[str, _kind(_target)]
Targets = Annotated[str, _kind(_targets)]
Url = Annotated[str, _kind(_url, secret='url')]
Urls = Annotated[tuple[str, ...], _kind(_urls, secret='url')]
Webhook = Annotated[str, _kind(_webhook, secret='webhook')]

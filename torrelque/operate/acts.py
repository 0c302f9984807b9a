"""The record of what operators did.

It is a list beside the queue, which ends by itself, and no more than a help to memory: an act is carried out whether or
not it can be put on record.
"""

import functools
import importlib.resources
import inspect
import json
import logging
import math
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from torrelque import TorrelqueConnectionError, TorrelqueQueue, TorrelqueServerError, TorrelqueValueError

from .asking import read
from .values import Act

logger = logging.getLogger('torrelque.operate')

MOST = 500
"""Acts that are kept."""
KEPT = 30 * 86400
"""s for which they are kept after the last one."""
TAKEN = 86400
"""s for which the number of an act is taken."""
LONGEST = 1000
"""Characters of a text that are kept."""


async def write_act(
    queue: TorrelqueQueue, name: str, who: str, what: str, count: int, on_act: Callable[[Act], Any] | None,
    number: str = ''
) -> None:  # fmt: skip
    """Put an act on record, log it, and tell ``on_act``.

    :param number: tells what was asked for once from all else.

    A refusal of the server, and a server that is away, are logged, and so is whatever ``on_act`` raises.  When it is
    cancelled, the act may be on record and not be logged.
    """
    who, what = _short(who), _short(what)
    now = time.time()
    try:
        now = await _write(queue, name, who, what, count, number)
    except (TorrelqueServerError, TorrelqueConnectionError) as exc:
        logger.warning('queue %r: an act could not be put on record: %s', queue.name, _reason(queue, exc))
    act = Act(queue=queue.name, time=now, who=who, act=name, what=what, count=count, number=number)
    logger.info('queue %r: %s of %d tasks by %r: %r', queue.name, name, count, who, what)
    if on_act is None:
        return
    try:
        told = on_act(act)
        if inspect.isawaitable(told):
            await told
    except Exception:
        logger.exception('queue %r: the function on_act failed', queue.name)


def _reason(queue: TorrelqueQueue, error: Exception) -> str:
    return str(error).removeprefix(f'queue {queue.name!r}: ')


def _short(text: str) -> str:
    """A text that can be told; surrogates stand in it for bytes that are no UTF-8, and others are made visible."""
    try:
        text.encode('utf-8', 'surrogateescape')
    except UnicodeEncodeError:
        text = text.encode('utf-8', 'backslashreplace').decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'


async def _write(queue: TorrelqueQueue, name: str, who: str, what: str, count: int, number: str) -> float:
    """Write an act, once however often it is sent; the server's time."""
    act_id = secrets.token_hex(8)
    begin = json.dumps({'id': act_id})[:-1] + ', "time": '
    told = {'who': who, 'act': name, 'what': what, 'count': count}
    rest = ', ' + json.dumps({**told, 'number': number} if number else told)[1:]
    keys = [queue.keys['pending'].encode(), queue.keys['never'].encode()]
    return float(await queue.command('EVAL', _script(), len(keys), *keys, act_id, begin, rest, MOST, KEPT))


@functools.cache
def _script() -> str:
    return (importlib.resources.files('torrelque.operate') / 'script' / 'act.lua').read_text('utf-8')


async def read_acts(queue: TorrelqueQueue) -> list[Act]:
    """The last 500 acts, the newest first; what is none, and what is there twice, is passed over.

    :raises TorrelqueServerError: the server refused it.
    """
    lines = await read(queue, 'LRANGE', queue.keys['acts'], 0, MOST - 1) or ()
    acts: dict[Any, Act] = {}
    for number, line in enumerate(lines):
        with suppress(ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
            values = json.loads(line.decode('utf-8', 'replace'))
            act_id = values['id'] if isinstance(values.get('id'), str) else number
            acts.setdefault(act_id, _act_of(queue, values))
    return list(acts.values())


def _act_of(queue: TorrelqueQueue, values: dict[str, Any]) -> Act:
    """An act, of what was written.

    :raises ValueError: it is none.
    """
    when, count = values['time'], values['count']
    texts = [values[name] for name in ('who', 'act', 'what')]
    if isinstance(when, bool) or not isinstance(when, (int, float)) or not math.isfinite(when):
        raise ValueError(when)
    if type(count) is not int or count < 0 or not all(isinstance(text, str) for text in texts):
        raise ValueError(values)
    who, act, what = map(_short, texts)
    number = values.get('number')
    number = _short(number) if isinstance(number, str) else ''
    return Act(queue=queue.name, time=float(when), who=who, act=act, what=what, count=count, number=number)


# Once


async def claim(queue: TorrelqueQueue, number: str) -> bool:
    """Take a number, for a day: whether nobody had it.

    :raises TorrelqueError: the server refused it, or was away for some ten seconds; whether it is taken is unknown.
    """
    key, mark = _key_of(queue, number), secrets.token_hex(8)
    if await queue.command('SET', key, mark, 'NX', 'EX', TAKEN) is not None:
        return True
    # A call whose reply was lost is sent again, and finds what it has written itself.
    return bool(await queue.command('GET', key) == mark.encode())


async def is_claimed(queue: TorrelqueQueue, number: str) -> bool:
    """Whether somebody has taken a number in the last day."""
    return bool(await queue.command('EXISTS', _key_of(queue, number)))


def _key_of(queue: TorrelqueQueue, number: str) -> bytes:
    if not number:
        raise TorrelqueValueError('this operator was given no number')
    return f'{queue.keys["acts"]}:{number}'.encode()

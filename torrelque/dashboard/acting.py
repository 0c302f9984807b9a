"""Everything that changes something from the dashboard: the table of acts, and how one is begun, once.

Each form has a number.  In this process an act is found by it; in another one of the same application the number is
taken, so that nothing is done there.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torrelque import TorrelqueLookupError, TorrelqueValueError
from torrelque.operate import Operator

from .asking import Ask, Do, Kind
from .copying import COPY
from .doing import Doing
from .fields import read_fields
from .links import Query, link, spell_pairs
from .masses import MASSES
from .switches import SWITCHES
from .visit import Visit

if TYPE_CHECKING:
    from .site import Site

WAITED = 1.0
"""s for which the answer waits for the end of an act."""
_NUMBER = re.compile('[0-9a-f]{32}')


def new_number() -> str:
    """The number of a form."""
    return secrets.token_hex(16)


def is_number(text: str) -> bool:
    """Whether a text is the number of a form."""
    return _NUMBER.fullmatch(text) is not None


# Ending an act


def _meant(visit: Visit) -> Doing:
    """The act that is to be stopped.

    :raises TorrelqueLookupError: there is none in this process.
    """
    doing = visit.site.doings.get(visit.text('number'))
    if doing is None:
        raise TorrelqueLookupError('this process of the application knows no such act; it may go on in another one')
    return doing


async def _ask_stop(kind: Kind, visit: Visit) -> Ask:
    doing = _meant(visit)
    if not doing.running:
        return Ask('It has ended', possible=False)
    return Ask(f'Stop: {doing.title}', ['What is done stays done, and the rest is left as it is.'])


def _make_stop(kind: Kind, visit: Visit, given: Mapping[str, Any], form: Query) -> tuple[str, Do]:
    raise NotImplementedError('an act is stopped by `start`')


STOP = Kind('stop', 'Stop', '', 'act', _ask_stop, _make_stop)
ACTS: dict[str, Kind] = {kind.name: kind for kind in (*MASSES, *SWITCHES, COPY, STOP)}
"""What can be done, by name."""


def find_act(visit: Visit) -> Kind | None:
    """The act that a query names."""
    name = visit.query.get('act', '')
    # The command line has one word for both.
    return ACTS.get(f'{name}-schedule' if name in ('pause', 'resume') and 'schedule' in visit.query else name)


def grant_of(visit: Visit, kind: Kind) -> str:
    """What a visitor needs for an act; to stop one, what that one needs."""
    return kind.grant or ACTS[_meant(visit).act].grant


# What is done


async def start(visit: Visit, kind: Kind, form: Query) -> str:
    """Begin an act that the visitor may do, unless its number was used; where to go on.

    It goes on by itself beyond the call, which waits a second for its end.

    :raises TorrelqueError: something cannot be meant, or the server refused to take the number; nothing was done.
    """
    number, site, queue = form.get('number', ''), visit.site, visit.queue
    if not is_number(number):
        raise TorrelqueValueError('nothing was done: the form has no number, by which it would be done once')
    if kind is STOP:
        return await _stop(visit)
    there = link('done', q=queue.name, number=number)
    if number in site.doings:
        return f'{there}&again=1'
    given, wrong = read_fields(kind.fields, form)
    if wrong:
        texts = [(field.name, form[field.name]) for field in kind.fields if form.get(field.name)]
        return f'./ask?{spell_pairs([*visit.query.pairs, *texts])}'
    title, do = kind.make(kind, visit, given, form)
    doing = Doing(number, kind.name, queue.name, visit.visitor.name, title)
    operator = Operator(queue, who=visit.visitor.name, on_act=site.on_act, number=number)
    site.doings.add(doing)
    try:
        fresh = await operator.claim()
    except BaseException:
        site.doings.forget(number)
        raise
    if not fresh:
        site.doings.forget(number)
        return f'{there}&again=1'
    task = doing.begin(lambda doing: do(doing, operator), site.reads.forget)
    await asyncio.wait({task}, timeout=WAITED)
    return there


async def _stop(visit: Visit) -> str:
    doing = _meant(visit)
    if doing.running:
        await doing.stop(visit.visitor.name)
        operator = Operator(visit.site.operators[doing.queue].queues, who=visit.visitor.name, on_act=visit.site.on_act)
        await operator.record('stop', f'{doing.act} by {doing.who}')
    return link('done', q=doing.queue, number=doing.number)


async def aclose(site: 'Site') -> None:
    """End all acts where they are; what they have done is on record then."""
    await site.doings.aclose()

"""Acts that cannot be meant, or that nobody may carry out, are refused before anything is sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.burying import die
from torrelque import Torrelque, TorrelqueError, TorrelqueTypeError, TorrelqueValueError
from torrelque.operate import Operator, Selection

pytestmark = pytest.mark.one_server


@pytest.fixture
def operator(queue: Torrelque) -> Operator:
    return Operator(queue)


@pytest.mark.parametrize(
    ('act', 'selection', 'options', 'error', 'words'),
    [
        ('redrive', Selection(status='working'), {}, TorrelqueValueError, 'for tasks that are dead, not for working'),
        ('requeue', Selection(status='dead'), {}, TorrelqueValueError, 'working or orphaned'),
        ('bury', Selection(status='pending'), {}, TorrelqueValueError, 'bury is for tasks that are working'),
        ('cancel', Selection(status='done'), {}, TorrelqueValueError, 'no status'),
        ('redrive', Selection(older=-1), {}, TorrelqueValueError, 'older'),
        ('redrive', {'status': 'dead'}, {}, TorrelqueTypeError, 'by a Selection'),
        ('redrive', Selection(), {'limit': 0}, TorrelqueValueError, 'limit'),
        ('redrive', Selection(), {'limit': 1.5}, TorrelqueTypeError, 'limit'),
        ('redrive', Selection(), {'rate': 0}, TorrelqueValueError, 'rate'),
        ('redrive', Selection(), {'rate': float('inf')}, TorrelqueValueError, 'rate'),
        ('redrive', Selection(), {'rate': '50'}, TorrelqueTypeError, 'rate'),
        ('redrive', Selection(), {'paced': 1}, TorrelqueTypeError, 'paced'),
        ('redrive', Selection(), {'dry_run': None}, TorrelqueTypeError, 'dry_run'),
        ('redrive', Selection(), {'on_progress': 5}, TorrelqueTypeError, 'on_progress'),
        ('redrive', Selection(), {'on_progress': asyncio.sleep}, TorrelqueTypeError, 'plain function'),
        ('redrive', Selection(), {'speed': 5}, TorrelqueTypeError, 'speed'),
        ('bury', Selection(), {'error': 5}, TorrelqueTypeError, 'error must be a str'),
        ('redrive', Selection(), {'error': 'no'}, TorrelqueTypeError, 'to bury tasks, not to redrive them'),
    ],
)  # fmt: skip
async def test_an_act_that_cannot_be_meant_is_refused_before_anything_is_sent(
    queue: Torrelque, act: str, selection: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as refused:
        await getattr(Operator(queue), act)(selection, **options)
    assert words in str(refused.value)
    assert queue._session is None


async def test_a_list_of_what_cannot_be_meant_is_refused(queue: Torrelque, operator: Operator) -> None:
    with pytest.raises(TorrelqueValueError, match='no status'):
        await anext(operator.tasks(Selection(status='done')))
    assert queue._session is None


async def test_an_operator_who_may_only_read_acts_not(queue: Torrelque) -> None:
    await die(queue, 1)
    operator = Operator(queue, read_only=True)
    for act in (operator.redrive, operator.cancel, operator.requeue, operator.bury):
        with pytest.raises(TorrelqueError, match='may only read'):
            await act(Selection())
    assert (await queue.get_queue_stats()).dead == 1

"""Alerts and the dashboard: it shows those that fire, and looks at rules as long as it is there."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from support.alerting import Told
from support.commanding import STOP, Folder
from support.waiting import until
from torrelque import Torrelque
from torrelque.dashboard import Dashboard, Visitor
from torrelque.monitor import Alerts, Rule

pytestmark = pytest.mark.first_server


def client_of(pages: Dashboard) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(pages), base_url='http://h')


RULE = Rule('some', 'pending', above=1, for_=0)


async def test_an_alert_that_fires_needs_attention(queue: Torrelque) -> None:
    await queue.enqueue(1)
    await Alerts(queue, [RULE, Rule('other', 'pending', above=9)]).look()
    async with client_of(Dashboard(queue, permit=lambda _: Visitor('x'))) as client:
        for page in ('/', f'/queue?q={queue.name}'):
            text = (await client.get(page)).text
            assert 'has an alert, some, for ' in text and ': 1 task is pending' in text
            assert 'has an alert, other' not in text


async def test_it_looks_as_long_as_it_is_there(queue: Torrelque) -> None:
    told = Told()
    await queue.enqueue(1)
    pages = Dashboard(queue, permit=lambda _: Visitor('x'), alerts=Alerts(queue, [RULE], told))
    async with client_of(pages) as client:
        await client.get('/')
        await until(lambda: told.words)
    await pages.aclose()
    assert told.words == [('some', 'firing')]


@pytest.mark.long
async def test_alone_it_looks_before_anybody_comes(folder: Folder, queue: Torrelque, tmp_path: Path) -> None:
    await queue.enqueue(1)
    (tmp_path / 'rules.toml').write_text('[alerts.some]\nwhen = "pending"\nabove = 1\nfor = 0\n')
    more = {'TORRELQUE_QUEUE': queue.name}
    with folder.command('dashboard', '--bind', '127.0.0.1:0', '-c', 'rules.toml', more=more) as command:
        command.wait_for('^WARNING torrelque.monitor: FIRING: some on ')
        command.send(STOP)
        command.end()

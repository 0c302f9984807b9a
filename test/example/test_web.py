"""The web example, as its visitors and its operator know it: in a browser, by plain HTTP, by signals."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio.client import Pipeline

from support import visiting
from support.proxy import open_proxy
from support.servers import RealServer
from support.visiting import FAST, LIMIT, WEB, Run, Visitor, all_in
from torrelque import Torrelque

run = visiting.run


if TYPE_CHECKING:
    pass

# One event loop for all, that of the browser.
pytestmark = [pytest.mark.asyncio(loop_scope='module'), pytest.mark.one_server]


async def test_page_needs_nothing_from_elsewhere(run: Run, server: RealServer) -> None:
    visitor = Visitor(await run('--url', server.url))
    page = await visitor.ask('GET', '/')
    assert page.status == 200
    assert page.headers['content-type'].startswith('text/html')
    assert "default-src 'none'" in page.headers['content-security-policy']
    assert 'unsafe' not in page.headers['content-security-policy']
    assert re.fullmatch(r'torrelque_web=[\w-]{22}; HttpOnly; .*; SameSite=lax', page.headers['set-cookie'])
    assets = set(re.findall(r'(?:href|src)="(?!#)(.*?)"', page.body.decode())) - {'/'}
    assert assets == {'/page/style.css', '/page/page.js', '/page/icon.svg'}
    for path in assets:
        asset = await visitor.ask('GET', path)
        assert asset.status == 200
        assert not re.search(rb'@import|url\(|\bimport ', asset.body)
    assert 'style="' not in page.body.decode()
    assert '<script>' not in page.body.decode()


@pytest.mark.one_server
async def test_stream_tells_each_task_until_it_is_done(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, *FAST)).come()
    ids = {kind: (await visitor.start(kind))[0] for kind in ('letter', 'payment', 'film')}
    views = await visitor.follow(all_in('completed', 'dead', count=3))
    letter, payment, film = (views[ids[kind]] for kind in ids)

    assert letter[-1]['status'] == 'completed'
    assert letter[-1]['result'] == 'Delivered, and signed for'

    assert payment[-1]['status'] == 'dead'
    assert payment[-1]['error'] == 'The bank does not answer: 503 Service Unavailable'
    attempts = [view['attempt'] for view in payment]
    assert attempts == sorted(attempts)
    assert attempts[-1] == payment[-1]['attempts'] == 4
    waits = [view for view in payment if view['retry_in'] is not None]
    assert {view['status'] for view in waits} == {'delayed'}
    assert all(0 <= view['retry_in'] <= view['retry_after'] for view in waits)
    assert {view['attempt']: view['retry_after'] for view in waits} == {1: 0.2, 2: 0.4, 3: 0.8}

    done = [view['progress']['done'] for view in film if view['progress']]
    assert done == sorted(done)
    assert done[-1] == film[-1]['progress']['total'] == 240
    assert len(set(done)) > 2


async def test_tasks_of_a_visitor_are_his_own(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, '--consumers', 0)
    one, other = await Visitor(web).come(), await Visitor(web).come()
    (task_id,) = await one.start('letter')
    async with aclosing(other.frames()) as frames:
        first = await anext(frames)
        assert first['reset']
        assert first['tasks'] == []
    for verb in ('cancel', 'redrive'):
        answer = await other.ask('POST', f'/tasks/{task_id}/{verb}')
        assert (answer.status, answer.json) == (404, {'error': 'There is no such task on your list.'})
        assert (await one.ask('POST', f'/tasks/unknown/{verb}')).status == 404
    for method, path in (('POST', '/tasks?kind=letter'), ('POST', f'/tasks/{task_id}/cancel'), ('GET', '/events')):
        for cookie in ('', 'torrelque_web=x', one.cookie + '*'):
            assert (await Visitor(web, cookie).ask(method, path)).status == 403
    assert (await one.ask('POST', f'/tasks/{task_id}/cancel')).status == 200


async def test_requests_that_make_no_sense_are_told_why(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, *FAST)).come()
    for query in ('', 'kind=', 'kind=war', 'kind=letter&count=0', 'kind=letter&count=51', 'kind=letter&count=x'):
        answer = await visitor.ask('POST', f'/tasks?{query}')
        assert answer.status == 400
        assert re.match('There is no kind|The count must be', answer.json['error'])
    assert (await visitor.ask('GET', '/tasks')).status == 405
    assert (await visitor.ask('GET', '/nothing')).status == 404
    (task_id,) = await visitor.start('letter')
    assert (await visitor.ask('POST', f'/tasks/{task_id}/redrive')).status == 409
    await visitor.follow(all_in('completed'))
    answer = await visitor.ask('POST', f'/tasks/{task_id}/cancel')
    assert (answer.status, answer.json['error']) == (409, 'It is finished already, there is nothing left to cancel.')


async def test_list_has_room_for_so_many_and_no_more(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, '--consumers', 0)).come()
    for _ in range(10):
        await visitor.start('mix', 50)
    answer = await visitor.ask('POST', '/tasks?kind=letter')
    assert (answer.status, answer.json['error']) == (
        409,
        'Your list has room for 500 tasks. Clear the finished ones first.',
    )
    views = await visitor.follow(all_in('pending', count=500))
    await asyncio.gather(*(visitor.ask('POST', f'/tasks/{task_id}/cancel') for task_id in list(views)[:20]))
    assert len((await visitor.ask('POST', '/tasks/clear')).json['ids']) == 20
    await visitor.start('letter')


async def test_list_has_no_more_than_that_however_many_come_at_once(run: Run, server: RealServer) -> None:
    webs = [await run('--url', server.url, '--consumers', 0) for _ in range(2)]
    visitor = await Visitor(webs[0]).come()
    requests = [Visitor(webs[n % 2], visitor.cookie).ask('POST', '/tasks?kind=letter&count=20') for n in range(60)]
    answers = await asyncio.gather(*requests)
    started = [answer for answer in answers if answer.status == 201]
    assert sorted({answer.status for answer in answers}) == [201, 409]
    assert len(started) == 25
    ids = {task_id for answer in started for task_id in answer.json['ids']}
    assert len(ids) == 500
    with server.sync_client() as client:
        token = visitor.cookie.partition('=')[2]
        assert {key.decode() for key in client.hkeys(f'visitor:{{web}}:{token}')} == ids
        assert client.hlen('{web}:tasks') == 500


async def test_list_that_another_process_fills_between_the_look_and_the_write_takes_no_more(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(WEB)
    from lists import ListFullError, Lists

    hlen = Pipeline.hlen
    async with server.client(decode_responses=True) as client, Torrelque(client, queue=queue_name) as queue:
        one, other = Lists(client, queue, 1), Lists(client, queue, 1)

        async def look_and_wait(pipeline: Pipeline, key: str) -> Any:
            monkeypatch.setattr(Pipeline, 'hlen', hlen)
            length = await pipeline.hlen(key)
            await other.start('ada', ['letter'] * 300)
            return length

        monkeypatch.setattr(Pipeline, 'hlen', look_and_wait)
        with pytest.raises(ListFullError):
            await one.start('ada', ['letter'] * 300)
        assert len(await one.load('ada')) == (await queue.get_queue_stats()).tasks == 300


@pytest.mark.parametrize('lose', ['lose_reply', 'lose_request'])
async def test_tasks_are_started_once_though_the_reply_is_lost(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch, lose: str
) -> None:
    monkeypatch.syspath_prepend(WEB)
    from lists import Lists

    async with open_proxy(server) as proxy, proxy.client(decode_responses=True) as client:
        async with Torrelque(client, queue=queue_name) as queue:
            lists = Lists(client, queue, 1)
            getattr(proxy, lose)(b'EXEC')
            records = await lists.start('ada', ['letter', 'film'])
            assert proxy.lossless
            assert (await lists.load('ada')) == records
            assert (await queue.get_queue_stats()).tasks == len(records) == 2


async def test_a_record_that_was_cleared_away_does_not_come_back_with_a_cancellation(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(WEB)
    from lists import Lists

    async with open_proxy(server) as proxy, proxy.client(decode_responses=True) as client:
        async with Torrelque(client, queue=queue_name) as queue:
            lists = Lists(client, queue, 1)
            (task_id,) = await lists.start('ada', ['letter'])
            gate = proxy.hold_reply(b'\r\nHGET\r\n')
            cancelling = asyncio.ensure_future(lists.cancel('ada', task_id))
            await gate.arrived.wait()
            assert await lists.clear('ada') == [task_id]
            gate.open()
            assert await cancelling == {}
            assert await lists.load('ada') == {}


async def test_cancelled_task_is_listed_after_the_queue_has_forgotten_it(run: Run, server: RealServer) -> None:
    web = await run('--url', server.url, '--consumers', 0)
    visitor = await Visitor(web).come()
    ids = await visitor.start('letter', 2)
    await visitor.ask('POST', f'/tasks/{ids[0]}/cancel')
    with server.sync_client() as client:
        assert client.delete(*(f'{{web}}:task:{task_id}' for task_id in ids)) == 2
    views = await visitor.follow(all_in('cancelled', 'forgotten', count=2))
    assert [views[task_id][-1]['status'] for task_id in ids] == ['cancelled', 'forgotten']
    assert sorted((await visitor.ask('POST', '/tasks/clear')).json['ids']) == sorted(ids)


async def test_end_comes_also_with_the_last_change(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation is lost on Python 3.11 when what is waited for with a timeout comes at the same moment."""
    monkeypatch.syspath_prepend(WEB)
    from lists import Lists
    from live import Live

    async with server.client(decode_responses=True) as client, Torrelque(client, queue=queue_name) as queue:
        live = await Live(queue, Lists(client, queue, 1), 1).__aenter__()
        async with aclosing(live.frames('ada')) as frames:
            await anext(frames)
            await asyncio.sleep(0.5)  # nothing changes, and the next change is waited for
            live._changed.set()
            await asyncio.wait_for(live.__aexit__(), LIMIT)


@pytest.mark.one_server
@pytest.mark.timeout(2 * LIMIT)
async def test_slow_page_is_told_the_last_state_only(
    server: RealServer, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(WEB)
    from lists import Lists
    from live import Live

    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(server.client(decode_responses=True))
        queue = await stack.enter_async_context(Torrelque(client, queue=queue_name))
        lists = Lists(client, queue, 1)
        live = await stack.enter_async_context(Live(queue, lists, 1))
        slow = await stack.enter_async_context(aclosing(live.frames('ada')))
        quick = await stack.enter_async_context(aclosing(live.frames('ada')))
        for frames in (slow, quick):
            assert (await anext(frames))['tasks'] == []
        records = await lists.start('ada', ['film'])
        live.add('ada', records)
        delivery, _ = await queue.dequeue()
        told: list[dict[str, Any]] = []
        for done in range(10):
            await queue.touch(delivery, progress={'done': done, 'total': 10})
            while not told or (told[-1]['progress'] or {}).get('done') != done:
                told += (await anext(quick))['tasks']
        await queue.release(delivery, result='seen')
        while told[-1]['status'] != 'completed':
            told += (await anext(quick))['tasks']
        (view,) = (await anext(slow))['tasks']
        assert view == told[-1]
        assert [view['id']] == list(records)


async def test_pages_are_live_on_a_server_that_sends_no_notifications(run: Run, plain_server: RealServer) -> None:
    web = await run('--url', plain_server.url, *FAST)
    visitor = await Visitor(web).come()
    await visitor.start('letter', 3)
    await visitor.follow(all_in('completed', count=3))
    assert 'notify-keyspace-events' in web.errors


async def test_stream_says_what_cannot_be_read(run: Run, server: RealServer) -> None:
    visitor = await Visitor(await run('--url', server.url, '--consumers', 0)).come()
    (task_id,) = await visitor.start('letter')
    await visitor.follow(all_in('pending'))
    with server.sync_client() as client:
        (key,) = client.keys(f'*:task:{task_id}')
        timeout = client.hget(key, 'timeout')
        client.hset(key, 'timeout', '9' * 400)
        frame = await visitor.hear(lambda frame: bool(frame['trouble']))
        assert 'cannot be read' in frame['trouble']
        client.hset(key, 'timeout', timeout)
    await visitor.follow(all_in('pending'))

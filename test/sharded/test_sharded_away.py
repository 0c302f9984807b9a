"""A server is away: whoever looks is told at once what the others have, and which shard is missing."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

import torrelque
from support.acting import Commands, Said
from support.schemas import read_as
from support.servers import MakeServer, RealServer
from support.sharding import group_of, open_servers
from torrelque.dashboard import Dashboard, Visitor
from torrelque.monitor import Metrics
from torrelque.monitor.measures import measure, read
from torrelque.operate import Operator, Overview, Selection, parts
from torrelque.sharded import Sharded, sync

pytestmark = [pytest.mark.one_server, pytest.mark.long]


@pytest.fixture
def trio(make_server: MakeServer) -> list[RealServer]:
    return [make_server() for _ in range(3)]


@pytest.fixture
async def queue(trio: list[RealServer], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sharded]:
    monkeypatch.setattr(parts, 'PATIENCE', 0.3)
    async with open_servers(trio) as queue:
        for shard in range(3):
            for k in range(2):
                await queue.enqueue({'task': 'send'}, group=group_of(shard, 3), max_attempts=1)
                task_id, _ = await queue.dequeue(20)
                await queue.bury(task_id, error=f'ValueError: {k}')
        for shard in range(3):
            await queue.enqueue({'task': 'more'}, group=group_of(shard, 3))
        yield queue


async def test_an_operator_is_told_what_the_living_shards_have(queue: Sharded, trio: list[RealServer]) -> None:
    operator = Operator(queue, who='me')
    here, there = await queue.enqueue(1, task_id='x', group=group_of(0, 3)), group_of(2, 3)
    trio[2].kill()
    found = await operator.overview()
    [away] = found.away
    assert (away.queue, away.number, away.tag, away.server) == ('email', 2, 'email:2', trio[2].url)
    assert (found.tasks, found.dead, found.groups, found.error, found.workers_known) == (7, 4, 2, None, True)
    assert {'tasks', 'dead', 'schedules'} <= {*found.exact}
    for place in ('dead', 'pending'):
        page = await operator.page(place)
        assert (len(page), page.total, page.away) == (4 if place == 'dead' else 3, len(page), (away,))
    assert [(found.total, found.away) for found in [await operator.groups()]] == [(2, (away,))]
    assert [(found.dead, found.dead_seen, found.away) for found in [await operator.errors()]] == [(4, 4, (away,))]
    assert (await operator.flows()).away == (away,)
    assert (await operator.task(here)).id == 'x' and await operator.explain(here) is not None
    told = next(one for one in await operator.examine() if one.level == 'error')
    assert (told.subject, str(away) in told.text) == ('shards', True)
    with pytest.raises(torrelque.ConnectionError, match=r'shard 2 .* is away'):
        await operator.group(there)
    with pytest.raises(torrelque.ConnectionError, match=r'shard 2 .* is away'):
        # It may be there.
        await operator.task('nobody knows')
    seen: list[str] = []
    with pytest.raises(torrelque.ConnectionError, match=r'shard 2 .* is away'):
        async for task in operator.tasks(Selection(status='dead')):
            seen.append(task.id)
    assert len(seen) == 4
    with pytest.raises(torrelque.ConnectionError):
        await operator.scale()
    trio[2].start()
    while (await operator.overview()).away:
        await asyncio.sleep(0.02)
    assert (await operator.overview()).exact


async def test_an_act_is_done_at_the_living_shards_and_says_where_it_is_not(
    queue: Sharded, trio: list[RealServer]
) -> None:
    operator = Operator(queue, who='me')
    trio[1].kill()
    selection = Selection(status='dead')
    dry = await operator.redrive(selection, dry_run=True)
    assert (dry.matched, [shard.number for shard in dry.away]) == (4, [1])
    with pytest.raises(torrelque.ConnectionError, match=r'redrive is done at 2 of 3 shards, of 4 tasks, and not at sh'):
        await operator.redrive(selection)
    assert [(act.act, act.count) for act in await operator.acts()] == [('redrive', 4)]
    with pytest.raises(torrelque.ConnectionError):
        await operator.cancel(Selection(ids=['nobody knows']))
    # Whoever names tasks that are there has nothing to do with the others.
    named = [await queue.enqueue('named', group=group_of(shard, 3)) for shard in (0, 2)]
    assert (await operator.cancel(Selection(ids=named))).done == 2
    # A worker that looks for deaths passes by, and is told of the others'.
    [one] = [await queue.enqueue(k, group=group_of(2, 3), priority=9, task_timeout=0.01, max_attempts=1) for k in [0]]
    while (await queue.dequeue(20))[0] != one:
        pass
    while not (deaths := await queue.take_deaths()):
        await queue.shards[2].sweep()
    assert [death.id for death in deaths] == [one]


async def test_what_is_found_of_one_server_says_of_which(make_server: MakeServer) -> None:
    duo = [make_server() for _ in range(2)]
    async with duo[1].client() as client, open_servers(duo, shards=6) as queue:
        await client.config_set('maxmemory-policy', 'allkeys-lru')
        found = await Operator(queue).examine()
    [told] = [one.text for one in found if one.level in ('warning', 'error')]
    assert 'allkeys-lru' in told and told.endswith(f', at {duo[1].url}')
    # Six shards, and two servers whose answers take some time each.
    assert len([one for one in found if (one.level, one.subject) == ('ok', 'latency')]) <= 2
    assert ', at ' not in next(one.text for one in found if one.subject == 'version')


async def test_nothing_is_known_of_workers_where_the_first_shard_is_away(
    queue: Sharded, trio: list[RealServer]
) -> None:
    trio[0].kill()
    operator = Operator(queue)
    found = await operator.overview()
    assert (found.tasks, found.workers_known, [shard.number for shard in found.away]) == (6, False, [0])
    assert 'schedules' not in found.exact and 'tasks' in found.exact
    assert len(await operator.page('working')) == 0 and await operator.explain(group=group_of(1, 3)) is not None
    for question in (operator.workers, operator.acts, operator.functions, operator.schedules, operator.history):
        with pytest.raises(torrelque.ConnectionError, match=r'shard 0 .* is away'):
            await question()
    metrics = Metrics(queue)
    text, _ = await metrics.exposition()
    lines = text.decode().splitlines()
    assert 'torrelque_up{queue="email"} 1.0' in lines and 'torrelque_shard_away{queue="email",shard="0"} 1.0' in lines
    assert 'torrelque_tasks{queue="email",status="dead"} 4.0' in lines
    assert not [line for line in lines if line.startswith('torrelque_workers{')]
    await metrics.aclose()
    value, words = measure('shards_away', await read(operator, ['shards_away']), 1)
    assert (value, words) == (1, 'no answer of shard 0')
    app = Dashboard(queue, permit=lambda _: Visitor('me'))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url='http://here') as http:
        for page in ('', 'queue', 'tasks?place=dead', 'groups', 'errors', 'workers', 'history', 'flows'):
            answer = await http.get(f'/{page}')
            assert answer.status_code == 200 and 'is away' in answer.text, page
        answer = await http.get('/acts')
        assert answer.status_code == 503 and 'shard 0 (email:0 at ' in answer.text
    await app.aclose()


async def test_commands_tell_of_the_living_shards_and_which_is_away(
    queue: Sharded, trio: list[RealServer], command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '\n'.join([
        'import redis.asyncio, torrelque.tasks', 'from torrelque.sharded import Sharded',
        f'servers = [redis.asyncio.from_url(url) for url in {[server.url for server in trio]}]',
        "app = torrelque.tasks.Tasks(Sharded(servers, queue='email'))",
    ])  # fmt: skip
    (tmp_path / 'spread_app.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    app = ('--app', 'spread_app:app', '-q', 'email')

    async def say(*words: str, code: int | None) -> Said:
        # Each command is a process of its own.
        sys.modules.pop('spread_app', None)
        return await command(*words, *app, code=code)

    for dead in (2, 0):
        trio[dead].kill()
        said = await say('stats', '--json', code=1)
        assert [shard.number for shard in read_as(Overview, said.out.strip()).away] == [dead]
        said = await say('shards', '--json', code=1)
        assert [json.loads(line)['dead'] for line in said.out.splitlines()].count(None) == 1
        said = await say('tasks', 'dead', code=0)
        assert f'shard {dead} (email:{dead} at {trio[dead].url}) is away' in said.err, said
        if dead:
            said = await say('tasks', code=3)
            assert f'shard {dead} (email:{dead} at {trio[dead].url}) is away' in said.err, said
            assert 'ValueError: 0' in said.out, said
        said = await say('redrive', '--dry-run', code=3)
        # A server that has come back has lost what it had.
        counted = f'{4 if dead else 2} of {4 if dead else 2} dead tasks match; nothing was changed'
        assert counted in said.out and 'ValueError' in said.out, said
        assert f'shard {dead} (email:{dead} at {trio[dead].url}) is away' in said.err, said
        said = await say('check', code=1)
        assert f'shard {dead} ' in said.out
        trio[dead].start()
        [await shard.command('PING') for shard in queue.shards]


def test_a_thread_that_looks_for_deaths_passes_by_a_shard_that_is_away(
    trio: list[RealServer], bound: Callable[..., None]
) -> None:
    import redis

    bound(repeat=0.5)
    with sync.Sharded([redis.Redis.from_url(server.url) for server in trio], queue='email') as queue:
        task_id = queue.enqueue(1, group=group_of(0, 3), task_timeout=0.01, max_attempts=1)
        queue.dequeue(20)
        trio[1].kill()
        while not (deaths := queue.take_deaths()):
            queue.shards[0].sweep()
        assert [death.id for death in deaths] == [task_id]

"""Flows of functions whose calls are in several queues, through workers of each, and in memory."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from torrelque import Torrelque, TorrelqueLookupError, TorrelqueTaskStatus, TorrelqueTypeError
from torrelque.flows import FlowFailedError, Parallel, Step, current_flow, gather
from torrelque.tasks import TaskFailedError, Tasks, current
from torrelque.testing import eager, using
from torrelque.worker import Worker

pytestmark = pytest.mark.one_server

app = Tasks.from_url('redis://nowhere.invalid', queue='shop')
store = Tasks.from_url('redis://nowhere.invalid', queue='store')
seen: list[tuple[str, str]] = []
broken: set[str] = set()


@dataclasses.dataclass
class Item:
    name: str
    day: dt.date


def note(what: str) -> None:
    seen.append((what, current().queue.name.rpartition('.')[2]))


@app.task
async def make(name: str) -> Item:
    note('make')
    return Item(name, dt.date(2026, 11, 29))


@app.task(queue='slow', max_attempts=1)
def render(item: Item) -> str:
    note('render')
    if item.name in broken:
        raise ValueError(f'{item.name} is broken')
    return f'{item.name} of {item.day:%B}'


@app.task(queue='slow')
def upper(text: str) -> str:
    return text.upper()


@app.task(queue='slow', run_in='process')
def far(text: str) -> str:
    return text[::-1]


@app.task
async def join(texts: list[str]) -> str:
    note('join')
    return ', '.join(texts)


@app.task
async def items(names: list[str]) -> list[Item]:
    return [Item(name, dt.date(2026, 11, 29)) for name in names]


@app.task(queue='slow')
async def talks(key: str) -> Any:
    flow = current_flow()
    await flow.push(key, {'n': [1]})
    added = await flow.add(listens.s(key))
    with pytest.raises(TorrelqueLookupError):
        await flow.pull('nothing')
    return [flow.name, await flow.pull(key), added, [outcome.name async for outcome in flow.outcomes()]]


@app.task
async def listens(key: str) -> Any:
    note('listens')
    return await current_flow().pull(key)


@app.task
async def picks(name: str) -> Step[str]:
    return make.s(name) >> render


@app.task
async def all_slow(text: str) -> Step[str]:
    return upper.s(text) >> upper


@app.task(queue='slow', max_attempts=1)
async def gives_away(text: str) -> Step[str]:
    return join.s([text])


@app.task(queue='slow')
async def letters(text: str) -> list[str]:
    note('letters')
    return [*text]


@app.task
async def signs(text: str) -> list[str]:
    return [*text]


@app.task
async def plus(text: str) -> str:
    note('plus')
    return f'{text}+'


@app.task(max_attempts=1)
async def maps_there(text: str) -> Parallel[str]:
    return letters.s(text).map(upper)


@app.task(max_attempts=1)
async def maps_from_a_process(text: str) -> Any:
    return letters.s(text).map(upper).portable()


@app.task(queue='slow', max_attempts=1)
async def maps_back(text: str) -> Parallel[str]:
    return signs.s(text).map(plus)


@store.task
async def weigh(text: str) -> int:
    note('weigh')
    return len(text)


@pytest.fixture
async def used(queue: Torrelque) -> AsyncIterator[Torrelque]:
    seen.clear()
    broken.clear()
    async with using([app, store], queue):
        yield queue


@pytest.fixture(params=['a worker for each queue', pytest.param('one worker', marks=pytest.mark.long)])
async def workers(request: pytest.FixtureRequest, used: Torrelque) -> AsyncIterator[None]:
    if request.param == 'one worker':
        async with Worker(app), Worker(store):
            yield
    else:
        async with Worker(app.serving(['shop'])), Worker(app.serving(['slow'])), Worker(store):
            yield


def places() -> dict[str, set[str]]:
    return {what: {queue for it, queue in seen if it == what} for what, _ in seen}


@pytest.mark.usefixtures('workers')
async def test_data_go_through_functions_of_several_queues_and_apps(used: Torrelque) -> None:
    first, second = make.s('a'), make.s('b')
    rendered = gather(render.s(first.result), render.s(second.result))
    flow = rendered >> join >> upper >> weigh
    handle = await flow.enqueue()
    assert await handle.result(60) == len('a of November, b of November')
    assert await handle.task('upper').result(60) == 'A OF NOVEMBER, B OF NOVEMBER'
    assert await handle.task('make-2').result(60) == Item('b', dt.date(2026, 11, 29))
    home = used.name
    assert places() == {'make': {home}, 'render': {'slow'}, 'join': {home}, 'weigh': {'store'}}
    assert [outcome.how async for outcome in handle.outcomes()] == ['completed'] * 7


@pytest.mark.usefixtures('workers')
async def test_a_map_calls_a_function_of_another_queue(used: Torrelque) -> None:
    flow = items.s(['a', 'b', 'c']).map(render, limit=1) >> join
    assert await (await flow.enqueue()).result(60) == 'a of November, b of November, c of November'
    slow = used.sibling(f'{used.name}.slow')
    (limit,) = (await slow.get_limits()).values()
    assert limit.concurrency == 1 and await used.get_limits() == {}
    assert places()['render'] == {'slow'}


@pytest.mark.usefixtures('workers')
async def test_a_function_of_another_queue_reaches_its_flow(used: Torrelque) -> None:
    talked = talks.s('key')
    name, pulled, added, names = await (await (talked << make.s('x')).enqueue()).result(60)
    assert (name, pulled, added) == ('talks', {'n': [1]}, ['talks.listens'])
    assert sorted(names) == ['make', 'talks', 'talks.listens']
    assert places()['listens'] == {used.name}


async def test_a_death_in_another_queue_is_told_by_the_handle_and_repaired_by_it(used: Torrelque) -> None:
    broken.add('a')
    async with Worker(app.serving(['shop'])), Worker(app.serving(['slow']), retry=0):
        flow = render.s(make.s('a').result) >> upper
        handle = await flow.options(flow_id='f').enqueue()
        with pytest.raises(FlowFailedError) as caught:
            await handle.result(60)
        assert caught.value.status is TorrelqueTaskStatus.WAITING
        assert [*caught.value.failed] == ['render'] and 'a is broken' in str(caught.value)
        with pytest.raises(TaskFailedError, match=r'is dead: .*a is broken') as died:
            await handle.task('render').result(10)
        assert died.value.status is TorrelqueTaskStatus.DEAD
        broken.clear()
        assert await handle.redrive() == 1
        assert await app.flow('f').result(60) == 'A OF NOVEMBER'


async def test_a_flow_is_cancelled_in_all_queues(used: Torrelque, client: redis.asyncio.Redis) -> None:
    async with Worker(app.serving(['shop'])):
        handle = await (make.s('a') >> render >> upper).enqueue()
        slow = used.sibling(f'{used.name}.slow')
        while (await slow.get_queue_stats()).tasks != 1:
            await asyncio.sleep(0.01)
        assert await handle.cancel()
        with pytest.raises(FlowFailedError, match='is cancelled'):
            await handle.result(60)
        assert (await slow.get_queue_stats()).tasks == 0


@pytest.mark.usefixtures('workers')
async def test_a_flow_that_a_function_returns_has_its_steps_where_they_are(used: Torrelque) -> None:
    assert await (await (picks.s('a') >> upper).enqueue()).result(60) == 'A OF NOVEMBER'
    assert await (await (all_slow.s('b') >> upper).enqueue()).result(60) == 'B'
    assert places() == {'make': {used.name}, 'render': {'slow'}}
    assert await (await picks.enqueue('c')).result(60) == 'c of November'


@pytest.mark.usefixtures('workers')
@pytest.mark.parametrize('function', [maps_there, maps_from_a_process], ids=lambda function: function.name)
async def test_a_flow_that_a_function_returns_maps_in_the_queue_of_its_steps(used: Torrelque, function: Any) -> None:
    assert await (await function.enqueue('ab')).result(60) == ['A', 'B']
    assert await (await (signs.s('x') >> function.s('ab')).enqueue()).result(60) == ['A', 'B']
    assert places() == {'letters': {'slow'}}


@pytest.mark.usefixtures('workers')
async def test_a_function_alone_in_another_queue_returns_steps_that_are_where_they_belong(used: Torrelque) -> None:
    handle = await maps_back.enqueue('ab')
    assert await handle.result(60) == ['a+', 'b+']
    assert places() == {'plus': {used.name}}
    assert await (await gives_away.enqueue('c')).result(60) == 'c'
    assert places() == {'plus': {used.name}, 'join': {used.name}}


async def test_a_function_of_another_queue_than_its_flow_gives_its_place_to_none(used: Torrelque) -> None:
    async with Worker(app):
        with pytest.raises(FlowFailedError, match='is worked on in another queue than its flow'):
            await (await (make.s('a') >> render >> gives_away >> weigh).enqueue()).result(60)


async def test_a_schedule_starts_a_flow_over_several_queues(used: Torrelque) -> None:
    async with Worker(app):
        await app.schedules.add('nightly', '0 3 * * *', make.s('a') >> render >> upper)
        firing = await app.schedules.fire('nightly')
        assert await app.flow(await firing.result(60)).result(60) == 'A OF NOVEMBER'


@pytest.mark.long
async def test_a_function_in_a_process_of_another_queue_takes_results(used: Torrelque) -> None:
    async with Worker(app):
        assert await (await (make.s('a') >> render >> far >> upper).enqueue()).result(60) == 'REBMEVON FO A'


async def test_a_flow_that_is_all_of_one_other_queue_is_there(used: Torrelque) -> None:
    async with Worker(app):
        handle = await upper.s('a').options(flow_id='f').enqueue()
        assert await handle.result(60) == 'A'
        slow = used.sibling(f'{used.name}.slow')
        assert (await slow.get_task_state('f')).status is TorrelqueTaskStatus.COMPLETED


# What is refused


async def test_steps_of_apps_on_two_servers_are_refused_before_anything_is_sent() -> None:
    elsewhere = Tasks.from_url('redis://elsewhere.invalid', queue='shop')
    same = Tasks.from_url('redis://nowhere.invalid:6379/0', queue='third')
    other = Tasks.from_url('redis://nowhere.invalid/1', queue='third')

    @elsewhere.task
    async def far() -> None: ...

    @same.task
    async def near() -> None: ...

    @other.task
    async def aside() -> None: ...

    for step in (far.s(), aside.s()):
        with pytest.raises(TorrelqueTypeError, match='are for one server'):
            await (make.s('a') >> step).enqueue()
    assert 'make' in (make.s('a') >> near.s()).draw()


def test_steps_of_apps_with_two_serialisers_are_refused() -> None:
    class Other:
        def dumps(self, obj: Any) -> bytes:
            return repr(obj).encode()

        def loads(self, data: bytes) -> Any:
            return data

    third = Tasks.from_url('redis://nowhere.invalid', queue='third', serialiser=Other(), types=None)

    @third.task
    async def near() -> None: ...

    with pytest.raises(TorrelqueTypeError, match='different serialisers'):
        (make.s('a') >> near.s()).draw()


async def test_a_task_that_says_wrongly_where_its_flow_is_is_rejected(used: Torrelque) -> None:
    for home in (5, ''):
        task_id = await used.enqueue({'task': render.name, 'flow': 'f', 'name': 'x', 'home': home,
                                      'args': [None], 'from': [[['args', 0], 'f.y']]})  # fmt: skip
        async with Worker(app), contextlib.aclosing(used.watch(task_id, timeout=60)) as states:
            async for state in states:
                if state.status is TorrelqueTaskStatus.DEAD:
                    break
        assert 'does not say what results it takes' in (state.error or '')


# In memory


async def test_a_flow_over_several_queues_runs_at_once_in_memory() -> None:
    seen.clear()
    async with eager([app, store]) as block:
        first = make.s('a')
        flow = gather(render.s(first.result), render.s(make.s('b').result)) >> join >> weigh
        assert await (await flow.enqueue()).result() == len('a of November, b of November')
        mapped = items.s(['a', 'b']).map(render, limit=2) >> join
        assert await (await mapped.enqueue()).result() == 'a of November, b of November'
        name, pulled, added, _ = await (await (talks.s('key') << make.s('x')).enqueue()).result()
        assert (name, pulled, added) == ('talks', {'n': [1]}, ['talks.listens'])
    assert places() == {'make': {'shop'}, 'render': {'slow'}, 'join': {'shop'}, 'weigh': {'store'}, 'listens': {'shop'}}
    assert {task.queue for task in block.tasks} == {'shop', 'slow', 'store'}


async def test_a_death_in_another_queue_is_told_in_memory_as_by_a_server() -> None:
    broken.add('a')
    async with eager([app, store]):
        handle = await (render.s(make.s('a').result) >> upper).enqueue()
        with pytest.raises(FlowFailedError, match=r'render: .*a is broken') as caught:
            await handle.result()
        assert [*caught.value.failed] == ['render']
        with pytest.raises(TaskFailedError, match=r'is dead: .*a is broken'):
            await handle.task('render').result()
        broken.clear()
        assert await handle.redrive() == 1
        assert await handle.result() == 'A OF NOVEMBER'
        assert await handle.task('render').result() == 'a of November'


async def test_a_burst_waits_for_what_goes_from_one_of_its_queues_to_another(used: Torrelque) -> None:
    handle = await (make.s('a') >> render >> upper >> join.s(['x'])).enqueue()
    await Worker(app, burst=True, signals=False).run()
    assert await handle.result(0) == 'x'

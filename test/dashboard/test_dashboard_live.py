"""Pages that stay up to date: who reads for whom, how streams end, what they tell."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from torrelque import TorrelqueConnectionError
from torrelque.dashboard import live
from torrelque.dashboard.live import ROOM, Parts, Sampler
from torrelque.dashboard.reads import Reads

pytestmark = pytest.mark.one_server


class World:
    """Something that is looked at, and by how many questions."""

    def __init__(self) -> None:
        self.looks = 0
        self.parts: dict[str, str] = {'live-a': 'a'}
        self.away = False

    async def read(self) -> tuple[float, Parts]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.away:
            raise TorrelqueConnectionError('away')
        return float(self.looks), dict(self.parts)


async def never() -> None:
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def following(
    sampler: Sampler, world: World, name: str = 'a', until: Callable[[], Awaitable[None]] = never
) -> AsyncIterator[Any]:
    async with contextlib.aclosing(sampler.follow(name, 0.005, world.read, until)) as frames:
        yield frames


async def take(frames: Any) -> Any:
    return json.loads(await asyncio.wait_for(anext(frames), 60))


async def test_all_who_look_at_the_same_have_it_read_once() -> None:
    sampler, world = Sampler(), World()
    async with contextlib.AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(following(sampler, world)) for _ in range(10)]
        assert {(await take(one))['parts']['live-a'] for one in viewers} == {'a'}
        world.looks = 0
        world.parts['live-a'] = 'b'
        assert {(await take(one))['parts']['live-a'] for one in viewers} == {'b'}
        # One look has them all told; another may have been on its way, and one begun since.
        assert world.looks <= 3
    await sampler.aclose()


async def test_nobody_who_looks_has_nothing_read() -> None:
    sampler, world = Sampler(), World()
    async with following(sampler, world) as frames:
        await take(frames)
    looks = world.looks
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert world.looks <= looks + 1
    await sampler.aclose()


async def test_only_what_has_changed_is_told_and_an_age_has_not() -> None:
    sampler, world = Sampler(), World()
    world.parts = {'live-a': '<time data-since="1.000">1 s</time>', 'live-b': 'b'}
    async with following(sampler, world) as frames:
        assert [*(await take(frames))['parts']] == ['live-a', 'live-b']
        world.parts['live-a'] = '<time data-since="1.000">2 s</time>'
        world.parts['live-b'] = 'c'
        assert (await take(frames))['parts'] == {'live-b': 'c'}
        world.parts['live-a'] = '<time data-since="2.000">0 s</time>'
        assert [*(await take(frames))['parts']] == ['live-a']
    await sampler.aclose()


async def test_whoever_comes_later_is_told_all_at_once() -> None:
    sampler, world = Sampler(), World()
    async with following(sampler, world) as first, following(sampler, world) as second:
        await take(first)
        assert (await take(second))['parts'] == {'live-a': 'a'}
    await sampler.aclose()


async def test_a_server_that_is_away_is_told_once_and_then_all_of_the_page() -> None:
    sampler, world = Sampler(), World()
    async with following(sampler, world) as frames:
        await take(frames)
        world.away = True
        assert 'is away' in (await take(frames))['away']
        world.away = False
        assert await take(frames) == {'now': float(world.looks), 'parts': {'live-a': 'a'}, 'away': ''}
    await sampler.aclose()


async def test_a_stream_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, 'LENGTH', 0.5)
    sampler, world = Sampler(), World()
    async with following(sampler, world) as frames:
        assert [json.loads(frame)['parts'] async for frame in frames] == [{'live-a': 'a'}]
    await sampler.aclose()


async def test_streams_end_when_the_server_is_to_stop_or_the_dashboard_is_closed() -> None:
    sampler, world, stop = Sampler(), World(), asyncio.Event()

    async def until() -> None:
        await stop.wait()

    async with following(sampler, world, 'a', until) as one, following(sampler, world, 'b') as other:
        await take(one)
        await take(other)
        stop.set()
        assert [frame async for frame in one] == []
        sampler.close()
        assert [frame async for frame in other] == []
    async with following(sampler, world) as late:
        assert [frame async for frame in late] == []
    await sampler.aclose()


async def test_whoever_takes_nothing_is_cut_and_holds_up_nobody() -> None:
    sampler, world = Sampler(), World()
    async with following(sampler, world) as slow, following(sampler, world) as quick:
        await take(slow)
        await take(quick)
        for number in range(ROOM + 2):
            world.parts['live-a'] = str(number)
            assert (await take(quick))['parts'] == {'live-a': str(number)}
        assert len([frame async for frame in slow]) < ROOM
    await sampler.aclose()


# What is kept for a moment


async def test_what_is_asked_for_while_it_is_read_is_read_once() -> None:
    reads, asked, go = Reads(), 0, asyncio.Event()

    async def read() -> int:
        nonlocal asked
        asked += 1
        await go.wait()
        return asked

    askers = [asyncio.create_task(reads.get('a', 60, read)) for _ in range(5)]
    await asyncio.sleep(0)
    askers[0].cancel()
    go.set()
    assert await asyncio.gather(*askers[1:]) == [1] * 4
    assert await reads.get('a', 60, read) == 1
    assert await reads.get('a', 0, read) == 2
    reads.forget()
    assert await reads.get('a', 60, read) == 3
    await reads.aclose()


async def test_what_takes_long_is_answered_by_what_was_before() -> None:
    reads, go = Reads(), asyncio.Event()

    async def read() -> str:
        await go.wait()
        return 'new'

    async def old() -> str:
        return 'old'

    assert await reads.soon('a', 60, read, 0.001) is None
    await reads.get('b', 0, old)
    assert await reads.soon('b', 0, read, 0.001) == 'old'
    # Whoever has nothing yet may have more patience.
    waiting = asyncio.ensure_future(reads.soon('c', 60, read, 0.001, 60))
    assert await reads.soon('b', 0, read, 0.001, 60) == 'old' and not waiting.done()
    go.set()
    assert await waiting == 'new'
    assert await reads.get('a', 60, read) == 'new'
    assert await reads.get('b', 60, read) == 'new'
    await reads.aclose()


async def test_an_error_is_raised_for_all_who_wait_and_not_kept() -> None:
    reads = Reads()

    async def fail() -> str:
        await asyncio.sleep(0)
        raise LookupError('gone')

    async def read() -> str:
        return 'there'

    found = await asyncio.gather(*(reads.get('a', 60, fail) for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in found] == [LookupError] * 2
    assert await reads.get('a', 60, read) == 'there'
    await reads.aclose()


async def test_a_page_that_fails_says_so_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(World):
        fails = True

        async def read(self) -> tuple[float, Parts]:
            found = await super().read()
            if self.fails:
                raise KeyError('nothing that was thought of')
            return found

    sampler, world = Sampler(), Failing()
    async with following(sampler, world) as frames:
        assert (await take(frames))['away'] == live.FAILED
        async with following(sampler, world) as others:
            assert (await take(others))['away'] == live.FAILED
            while world.looks < 5:
                await asyncio.sleep(0)
        world.fails = False
        frame = await take(frames)
        assert (frame['parts'], frame['away']) == ({'live-a': 'a'}, '')
    assert [record.exc_info is not None for record in caplog.records] == [True]
    await sampler.aclose()


async def test_streams_that_come_at_once_are_no_more_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, 'MOST', 2)
    sampler, world = Sampler(), World()
    assert not sampler.full
    async with contextlib.AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(following(sampler, world)) for _ in range(5)]
        found = await asyncio.gather(*map(take, viewers), return_exceptions=True)
        assert [isinstance(frame, StopAsyncIteration) for frame in found].count(False) == 2
    await sampler.aclose()

"""What is declared in code, when the server loses it or comes back with what was before, and several versions live."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from support.declaring import make, serving, until
from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueLookupError
from torrelque.cron import asking, keeper, setting
from torrelque.worker import Worker

pytestmark = pytest.mark.first_server


async def has(queue: Torrelque, name: str, count: int = 1) -> bool:
    try:
        return ((await queue.get_schedule(name)).left or 0) >= count
    except TorrelqueLookupError:
        return False


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have keepers look again after a moment; what they were told each time."""
    told: list[str] = []
    look = asking.look_declared

    async def look_declared(*args: Any) -> tuple[str, bytes, bytes]:
        found = await look(*args)
        if args[-1] is None:
            told.append(found[0])
        return found

    monkeypatch.setattr(keeper, 'SECOND_LOOK', 0.02)
    monkeypatch.setattr(keeper, 'look_declared', look_declared)
    return told


async def test_a_server_that_was_emptied_gets_back_what_is_declared(
    queue: Torrelque, looks: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    app = make(queue, 'declared', name='shop')
    async with serving(app):
        await until(lambda: has(queue, 'declared'))
        await queue.client.flushall()
        await until(lambda: has(queue, 'declared', 32))
        await until(lambda: told(looks, 'own'))
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == [f'queue {queue.name!r}: the server has lost the schedules, and they are set again']


async def told(looks: list[str], word: str, count: int = 3) -> bool:
    return looks[-count:] == [word] * count


async def test_what_was_removed_by_hand_does_not_come_back_by_itself(queue: Torrelque, looks: list[str]) -> None:
    app = make(queue, 'one', 'two')
    async with serving(app):
        await until(lambda: has(queue, 'two'))
        await app.schedules.remove('one')
        del looks[:]
        await until(lambda: told(looks, 'own'))
        assert not await has(queue, 'one')
    await Worker(make(queue, 'one', 'two'), burst=True).run()
    assert await has(queue, 'one')


async def test_of_two_versions_at_once_the_one_that_began_last_counts(queue: Torrelque, looks: list[str]) -> None:
    other = Torrelque(queue.client, queue=queue.name)
    old, new = make(queue, 'old', 'both', name='shop'), make(other, 'both', 'new', name='shop')
    async with serving(old):
        await until(lambda: has(queue, 'old'))
        async with serving(new):
            await until(lambda: has(queue, 'new'))
            del looks[:]
            await until(lambda: found(looks))
            assert not await has(queue, 'old') and await has(queue, 'new')
        # The new one has gone, and the old one does not bring back what is removed.
        del looks[:]
        await until(lambda: told(looks, 'newer'))
        assert not await has(queue, 'old')
    await other.aclose()


async def snapshot(queue: Torrelque) -> dict[Any, Any]:
    """What a snapshot of the server would have of the queue's schedules."""
    keys = [key async for key in queue.client.scan_iter(f'*{queue.name}}}:*')]
    kept = [key for key in keys if any(word in key for word in (b'declared', b'schedule', b'times'))]
    return {key: await queue.client.dump(key) for key in kept}


async def come_back(queue: Torrelque, kept: dict[Any, Any]) -> None:
    """The server comes back with a snapshot."""
    gone = await snapshot(queue)
    async with queue.client.pipeline() as pipe:
        pipe.delete(*gone)
        for key, value in kept.items():
            pipe.restore(key, 0, value)
        await pipe.execute()


@pytest.mark.parametrize('revisions', [(None, None), (41, 42), (None, 42), (42, None)])
async def test_what_a_snapshot_of_before_a_deployment_has_is_replaced(
    queue: Torrelque, looks: list[str], revisions: tuple[Any, Any]
) -> None:
    await Worker(make(queue, 'old', 'both', name='shop', revision=revisions[0]), burst=True).run()
    before = await snapshot(queue)
    async with serving(make(queue, 'both', 'new', name='shop', revision=revisions[1])):
        await until(lambda: has(queue, 'new'))
        await until(lambda: told(looks, 'own'))
        await come_back(queue, before)
        assert await has(queue, 'old')
        await until(lambda: has(queue, 'new'))
        await until(lambda: told(looks, 'own'))
        assert not await has(queue, 'old') and await has(queue, 'both')


@pytest.mark.parametrize('revisions', [(None, None), (41, 42), (None, 42), (42, None)])
async def test_a_newer_version_sets_again_what_an_older_one_has_set_after_a_loss(
    queue: Torrelque, looks: list[str], revisions: tuple[Any, Any]
) -> None:
    other = Torrelque(queue.client, queue=queue.name)
    old = make(queue, 'old', 'both', name='shop', revision=revisions[0])
    new = make(other, 'both', 'new', name='shop', revision=revisions[1])
    async with serving(old):
        await until(lambda: has(queue, 'old'))
        async with serving(new):
            await until(lambda: has(queue, 'new'))
            await until(lambda: found(looks))
            for _ in range(5):
                # Whichever looks first is the one that sets first.
                await queue.client.flushall()
                del looks[:]
                await until(lambda: found(looks))
                assert await has(queue, 'new') and not await has(queue, 'old')
                # Each has set it once or twice, and not by turns.
                assert looks.count('lost') + looks.count('older') <= 4
    await other.aclose()


async def test_what_could_not_be_set_again_after_a_loss_is_tried_again(
    queue: Torrelque, looks: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    armed: list[bool] = []
    tried: list[Any] = []
    put = setting.put

    async def failing(*args: Any) -> bool:
        if armed and len(tried) < 2:
            tried.append(args)
            raise TorrelqueConnectionError('away')
        return await put(*args)

    monkeypatch.setattr(keeper, 'put', failing)
    monkeypatch.setattr(keeper, 'AGAIN', 0.02)
    async with serving(make(queue, 'one', 'two')):
        await until(lambda: has(queue, 'two'))
        await until(lambda: told(looks, 'own'))
        armed.append(True)
        await queue.client.flushall()
        await until(lambda: has(queue, 'two'))
        await until(lambda: told(looks, 'own'))
        assert await has(queue, 'one') and len(tried) == 2
    assert 'tried again in some seconds: away' in caplog.text


async def test_whoever_begins_is_later_than_the_one_before_though_a_clock_was_set_back(queue: Torrelque) -> None:
    key = queue.keys['pending'][:-7] + 'declared'
    await queue.client.hset(key, 'code:shop', 'somebody 9000000000000000 ')
    await Worker(make(queue, 'a', name='shop'), burst=True).run()
    note = await queue.client.hget(key, 'code:shop')
    assert isinstance(note, bytes) and note.split()[1] == b'9000000000000001'
    await queue.client.delete(key)
    await queue.client.set(key, 'spoilt')
    await Worker(make(queue, 'a', name='shop'), burst=True).run()
    assert await queue.client.hlen(key) == 1


async def found(looks: list[str]) -> bool:
    return looks.count('newer') > 2 and looks.count('own') > 2


async def test_apps_without_a_name_are_told_apart_by_what_they_declare(queue: Torrelque, looks: list[str]) -> None:
    other = Torrelque(queue.client, queue=queue.name)
    async with serving(make(queue, 'a')), serving(make(other, 'b')):
        await until(lambda: has(queue, 'a'))
        await until(lambda: has(queue, 'b'))
        await queue.client.flushall()
        await until(lambda: has(queue, 'a'))
        await until(lambda: has(queue, 'b'))
    await other.aclose()

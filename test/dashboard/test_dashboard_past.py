"""The history that the dashboard keeps, beside what is read anew."""

from __future__ import annotations

from torrelque.dashboard.past import Past
from torrelque.operate import Record


def now_of(world: World) -> float:
    return max(world.minutes, default=0) * 60 + 30.0


class World:
    """Minutes of a queue, and how many of them were read."""

    def __init__(self) -> None:
        self.minutes = dict.fromkeys(range(1000), 1)
        self.read = 0

    async def history(self, span: float) -> list[Record]:
        last = max(self.minutes)
        found = [number for number in self.minutes if number >= last - span // 60]
        self.read = len(found)
        return [Record('a', number * 60.0, 60.0, (), (self.minutes[number],), (), 0.0, None) for number in found]


async def test_only_the_last_minutes_are_read_again() -> None:
    past, world = Past(), World()
    assert await past.get('a', '8h', now_of(world), world.history) == await world.history(8 * 3600)
    for number in range(1000, 1003):
        world.minutes[number - 1], world.minutes[number] = 7, 3
        assert await past.get('a', '8h', now_of(world), world.history) == await world.history(8 * 3600)
        await past.get('a', '8h', now_of(world), world.history)
        assert world.read < 10
    assert await past.get('a', '1h', now_of(world), world.history) == await world.history(3600)
    assert await past.get('b', '1h', now_of(world), world.history) == await world.history(3600)
    assert await past.get('b', '8h', now_of(world), world.history) == await world.history(8 * 3600)


async def test_what_was_forgotten_is_not_told_for_long() -> None:
    past, world = Past(), World()
    await past.get('a', '8h', now_of(world), world.history)
    world.minutes = dict.fromkeys(range(2000, 2003), 1)
    assert [record.start // 60 for record in await past.get('a', '8h', now_of(world), world.history)] == [2000, 2001, 2002]
    past.forget()
    world.minutes = {7: 1}
    assert [record.start // 60 for record in await past.get('a', '8h', now_of(world), world.history)] == [7]


async def test_hours_are_read_as_they_are() -> None:
    past, world = Past(), World()
    await past.get('a', '14d', now_of(world), world.history)
    assert world.read == 1000


async def test_a_time_without_a_worker_leaves_what_was_before() -> None:
    past, world = Past(), World()
    found = await past.get('a', '8h', now_of(world), world.history)

    async def nothing(span: float) -> list[Record]:
        return []

    assert await past.get('a', '8h', now_of(world) + 1200, nothing) == found[20:]
    assert await past.get('a', '8h', now_of(world) + 9 * 3600, nothing) == []

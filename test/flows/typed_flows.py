"""Flows with the type that each has: mypy and pyright must agree.  The tests run them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torrelque.flows import (
    FlowHandle,
    FlowProgress,
    Parallel,
    Step,
    any_failed,
    current_flow,
    first,
    gather,
    given,
)
from torrelque.tasks import Tasks, Work

if TYPE_CHECKING:
    # Checkers have it in their own stubs.
    from typing_extensions import assert_type
else:

    def assert_type(value: Any, kind: Any) -> Any:
        return value


Row = dict[str, float]
app = Tasks.from_url('redis://nowhere.invalid', queue='shop', name='shop')
done: list[str] = []

# Rows, with data that is handed over by name


@app.task(max_attempts=5)
async def extract(source: str) -> list[Row]:
    return [{'price': 1.5}, {'price': 0.0}, {'price': float(len(source))}]


@app.task
def clean(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row['price']]


@app.task
async def audit(rows: list[Row]) -> int:
    return len(rows)


@app.task
async def load(rows: list[Row], checked: int, table: str) -> int:
    done.append(f'{len(rows)} of {checked} into {table}')
    return len(rows)


async def etl() -> int:
    rows = extract.s('crm')
    flow = load.s(clean.s(rows.result).result, audit.s(rows.result).result, table='sales')
    assert_type(flow, Step[int])
    handle = await flow.options(name='etl', flow_id='etl-2026-11-28').enqueue()
    assert_type(handle, FlowHandle[int])
    async for progress in handle.watch():
        assert_type(progress, FlowProgress)
        print(progress.total - progress.left, 'of', progress.total)
    return await handle.result(timeout=3600)


# An order, in the notation of pipelines


@app.task
async def reserve(order: int) -> int:
    return order


@app.task
async def invoice(order: int) -> str:
    return f'invoice {order}'


@app.task
async def pack(order: int) -> str:
    return f'parcel {order}'


@app.task
async def ship(papers: list[str]) -> str:
    return ' and '.join(papers)


@app.task
async def thank(tracking: str) -> None:
    done.append(f'thanks for {tracking}')


async def order(number: int) -> FlowHandle[None]:
    flow = reserve.s(number) >> (invoice | pack) >> ship >> thank
    return await flow.options(flow_id=f'order-{number}').enqueue()


# Images: a fan-out over a result, and a cleanup


@app.task
async def unpack(archive: str) -> list[str]:
    return [f'{archive}/{name}' for name in ('a', 'b', 'c')]


@app.task(max_attempts=3)
def thumbnail(image: str) -> str:
    return image.upper()


@app.task
async def gallery(thumbnails: list[str]) -> str:
    return ', '.join(thumbnails)


@app.task
async def remove(archive: str) -> None:
    done.append(f'removed {archive}')


async def images(archive: str) -> str:
    thumbnails = unpack.s(archive).map(thumbnail, limit=20)
    assert_type(thumbnails, Parallel[str])
    page = thumbnails >> gallery
    page.at_end(remove.s(archive))
    return await (await page.enqueue()).result()


# A saga: one compensation, which undoes what had completed


@app.task
async def book_flight(trip: str) -> str:
    return f'flight of {trip}'


@app.task
async def book_hotel(trip: str) -> str:
    return f'hotel of {trip}'


@app.task(max_attempts=1)
async def charge(trip: str, flight: str, hotel: str) -> str:
    raise ValueError('no money')


@app.task
async def undo(name: str, booking: str) -> None:
    done.append(f'undo {name}: {booking}')


@app.task
async def compensate(trip: str) -> None:
    booked = [outcome async for outcome in current_flow().outcomes() if outcome.how == 'completed']
    last: Step[None] | None = None
    for outcome in reversed(booked):
        step = undo.s(outcome.name, outcome.result)
        last = step if last is None else last >> step
    if last is not None:
        await current_flow().add(last)


async def journey(trip: str) -> FlowHandle[str]:
    flight, hotel = book_flight.s(trip), book_hotel.s(trip)
    paid = charge.s(trip, flight.result, hotel.result)
    any_failed(flight, hotel, paid)(compensate.s(trip))
    return await paid.options(on_failure='skip').enqueue()


# A nightly report: a schedule whose work is a flow


@app.task
async def region(name: str) -> float:
    return float(len(name))


@app.task
async def total(figures: list[float]) -> float:
    return sum(figures)


@app.task
async def mail(figure: float) -> None:
    done.append(f'mail {figure}')


async def nightly() -> None:
    regions = gather(*(region.s(name) for name in ('north', 'south', 'west')))
    assert_type(regions, Parallel[float])
    await app.schedules.add('nightly', '30 2 * * mon-fri', regions >> total >> mail, timezone='Europe/Berlin')


# Functions that return a flow, which takes the place of their task


@app.task
async def choose(archive: str) -> Step[str]:
    return unpack.s(archive).map(thumbnail) >> gallery


@app.task(max_attempts=2)
def shrink(names: list[str]) -> Parallel[str]:
    return gather(*map(thumbnail.s, names))


@app.task
async def fibonacci(number: int) -> Work[int]:
    return given(number) if number < 2 else gather(fibonacci.s(number - 1), fibonacci.s(number - 2)) >> add_up


@app.task
async def add_up(numbers: list[int]) -> int:
    return sum(numbers)


@app.fifo(queue='papers')
async def in_order(name: str) -> Step[str]:
    return thumbnail.s(name)


async def grafts() -> tuple[str, list[str], int]:
    assert_type(choose.s('zip'), Step[str])
    assert_type(shrink.s(['a']), Step[list[str]])
    assert_type(in_order.s('a'), Step[str])
    assert_type(unpack.s('zip') >> shrink >> gallery, Step[str])
    assert_type(unpack.s('zip').map(choose), Parallel[str])
    assert_type(shrink.s(['a']).map(choose), Parallel[str])
    assert_type(say.s(choose.s('zip').result), Step[str])
    chosen = await choose.enqueue('zip')
    assert_type(await chosen.result(), str)
    small = await (unpack.s('zip') >> shrink).enqueue()
    numbers = await (fibonacci.s(7) >> reserve).enqueue()
    return await chosen.result(), await small.result(), await numbers.result()


# More of what can be said


@app.task
async def say(text: str, *, loud: bool = False) -> str:
    return text.upper() if loud else text


@app.task
async def count(values: list[str | int]) -> int:
    return len(values)




def more() -> Step[int]:
    assert_type(say.s('a') | audit.s([]), Parallel[str | int])
    assert_type(say.s('a') >> (reserve.s(1) | audit.s([])) >> load.s([], 1, 'a'), Step[int])
    assert_type(load.s([], 1, 'a') << extract.s('a'), Step[int])
    assert_type(gallery << (unpack.s('a') << say.s('b')), Step[str])
    assert_type(first(say.s('a'), ship.s([])) >> thank, Step[None])
    assert_type(say.s(first(say.s('a'), say.s('b')).result, loud=True), Step[str])
    assert_type(region.s('a').named('b').if_failed(say.s('a')).at_end(say.s('b')), Step[float])
    assert_type((invoice.s(1) | pack.s(1)).map(say), Parallel[str])
    assert_type(unpack.s('a').map(say) >> (ship | gallery), Parallel[str])
    assert_type(total.s(unpack.s('a').map(region).results), Step[float])
    return count.s([say.s('a').result, audit.s([]).result])

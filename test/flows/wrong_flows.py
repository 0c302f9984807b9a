# pyright: reportUnnecessaryTypeIgnoreComment=true
"""Flows that cannot be meant: an error of mypy, and of pyright, in each line that says so.

Both complain of a comment that is not needed, so a line that they would let pass is found by them.
"""

from __future__ import annotations

from torrelque.flows import first
from typed_flows import (
    app,
    audit,
    book_flight,
    charge,
    choose,
    clean,
    extract,
    gallery,
    invoice,
    load,
    pack,
    region,
    reserve,
    shrink,
    thank,
    thumbnail,
    total,
    unpack,
)


async def wrong() -> None:
    # Arguments of a call
    extract.s(1)  # type: ignore[arg-type]
    load.s([], 1, tabel='sales')  # type: ignore[call-arg]
    load.s(extract.s('crm').result, audit.s([]).result)  # type: ignore[call-arg]
    # Results that are no such argument
    load.s(extract.s('crm').result, clean.s([]).result, table='x')  # type: ignore[arg-type]
    charge.s('1', book_flight.s('1'), 'h')  # type: ignore[arg-type]
    total.s(unpack.s('a').map(thumbnail).results)  # type: ignore[arg-type]
    gallery.s(first(region.s('a'), region.s('b')).result)  # type: ignore[arg-type]
    # What is handed over to a function
    extract.s('db') >> thank  # type: ignore[operator]
    reserve.s(1) >> (invoice | pack) >> thank  # type: ignore[operator]
    extract.s('db') >> (clean | invoice)  # type: ignore[operator]
    unpack.s('a').map(gallery)  # type: ignore[arg-type]
    region.s('a').map(thumbnail)  # type: ignore[misc]
    # Of functions that return a flow: what its last step returns
    reserve.s(choose.s('zip').result)  # type: ignore[arg-type]
    choose.s('zip') >> reserve  # type: ignore[operator]
    shrink.s([]) >> thumbnail  # type: ignore[operator]
    unpack.s('a').map(shrink)  # type: ignore[arg-type]
    await app.schedules.add('x', '* * * * *', shrink)  # type: ignore[arg-type]
    # Results of the whole
    figure: str = await (await total.s([]).enqueue()).result()  # type: ignore[assignment]
    await app.schedules.add(figure, '* * * * *', region.s(7))  # type: ignore[arg-type]

"""``torrelque queues``: which queues there are."""

import argparse
from typing import Any

from torrelque.operate import Found, scan

from .failure import Exit
from .naming import read_names
from .out import Column, Out
from .session import answer_of_server
from .tables import Cell

COLUMNS = (Column('QUEUE', whole=True), Column('SEEN', rank=1))


def queues(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""

    async def call(client: Any, out: Out) -> int:
        return await (_scan(client, out) if found.scan else _list(client, out))

    return answer_of_server(found, call)


async def _list(client: Any, out: Out) -> int:
    rows = await read_names(client)
    if out.as_json:
        for one in rows:
            out.json(one)
    elif rows:
        out.table(COLUMNS, [row(out, one) for one in rows])
    else:
        out.tell("no queue is known here; 'torrelque queues --scan' looks for keys")
    return Exit.WELL if rows else Exit.ILL


async def _scan(client: Any, out: Out) -> int:
    """Each as it is found, because it may take minutes until the last is."""
    out.tell('looking at all keys of the server')
    seen = False
    async for one in scan(client):
        seen = True
        if out.as_json:
            out.json(one)
        else:
            out.line(one.name)
    return Exit.WELL if seen else Exit.ILL


def row(out: Out, one: Found) -> list[Cell]:
    """The line of a queue."""
    return [one.name, out.when(one.seen)]

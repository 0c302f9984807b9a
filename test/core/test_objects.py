"""Queue objects are cheap, and leave nothing: many applications make one for each request."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Callable

import pytest
import redis
import redis.asyncio

import torrelque.sync
from support.servers import RealServer
from support.waiting import until_waiting
from torrelque import Torrelque
from torrelque.codec import JSON
from torrelque.protocol.calls import Calls
from torrelque.protocol.scripts import load_script, pack_text
from torrelque.protocol.table import ROWS
from torrelque.protocol.transition import Transition

Make = Callable[[str], Torrelque | torrelque.sync.Torrelque]
# Clients that are never connected.
_client, _sync_client = redis.asyncio.Redis(), redis.Redis()
MAKERS = pytest.mark.parametrize(
    'make',
    [
        pytest.param(lambda name: Torrelque(_client, queue=name), id='async'),
        pytest.param(lambda name: torrelque.sync.Torrelque(_sync_client, queue=name), id='sync'),
    ],
)


@MAKERS
def test_an_object_that_is_not_used_has_no_script(make: Make) -> None:
    queue = make('q')
    assert dict(queue._calls.transitions) == {}


@MAKERS
def test_a_thousand_objects_take_little_memory(make: Make) -> None:
    make('first')
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        objects = [make(f'queue {n}') for n in range(1000)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Some 4 KiB each; one script as text has as much.
    assert len(objects) == 1000 and after - before < 1000 * 12 * 1024


async def test_an_object_has_the_scripts_that_it_uses_and_their_texts_are_those_of_all(
    server: RealServer, queue_name: str
) -> None:
    with server.sync_client() as client:
        queues = [torrelque.sync.Torrelque(client, queue=f'{queue_name}{n}') for n in range(2)]
        for queue in queues:
            queue.enqueue(1)
            assert queue.release(queue.dequeue()[0])
            assert {*queue._calls.transitions} == {'enqueue', 'claim', 'release'}
            queue.close()
    keys = Calls('q', JSON, None).keys
    texts = {name: pack_text(load_script(name)) for name in ROWS}
    for name in ROWS:
        transition = Transition(name, keys)
        whole = transition.pack(['a'], False, True)
        assert texts[name] in whole and pack_text(transition.script) is texts[name]
        held = [getattr(transition, slot) for slot in Transition.__slots__ if slot != 'script']
        assert not any(isinstance(value, bytes) and len(value) > 200 for value in held)


def test_scripts_are_asked_for_by_name_and_others_are_not_there() -> None:
    transitions = Calls('q', JSON, None).transitions
    for name in ('no such', '_prelude', ''):
        with pytest.raises(KeyError):
            transitions[name]
    assert [transitions[name].name for name in ROWS] == [*ROWS] == [*transitions]
    assert transitions['touch'] is transitions['touch']
    assert transitions['touch'].keys is transitions['claim'].keys


def test_threads_that_ask_for_a_script_at_once_have_the_same() -> None:
    calls, found, together = Calls('q', JSON, None), [], threading.Barrier(8)

    def ask() -> None:
        together.wait()
        found.append(calls.transitions['enqueue'])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({id(transition) for transition in found}) == 1


@pytest.mark.parametrize('turns', range(1, 8))
def test_a_loop_that_ends_while_an_object_is_being_closed_takes_its_connections_along(
    server: RealServer, turns: int
) -> None:
    async def main() -> None:
        others = asyncio.all_tasks()
        async with server.client() as client:
            before = len(await client.client_list())
            queue = Torrelque(client)
            # One connection is for calls, one waits at the bell.
            waiting = asyncio.ensure_future(queue.dequeue())
            await until_waiting(client)
            closing = asyncio.ensure_future(queue.aclose())
            for _ in range(turns):
                await asyncio.sleep(0)
            ending = asyncio.all_tasks() - others
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)
            await asyncio.gather(waiting, closing, return_exceptions=True)
            await queue.aclose()
            # It is the object that has closed them, and not the collector.
            while len(await client.client_list()) > before:
                await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(main(), 60))

"""Replies of the wrong kind: of a faulty proxy, of a server of another make.  No call hangs, and none is a success."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

import pytest
import redis

import torrelque.sync
from support.bounding import Bound
from support.proxy import Proxy
from torrelque import Torrelque, TorrelqueConnectionError, TorrelqueError, TorrelqueTaskId, TorrelqueTimeoutError

# The server has little part in it.
pytestmark = pytest.mark.one_server

WORDS = {
    'another word': b'+OK\r\n',
    'ok': b'$2\r\nok\r\n',
    'text': b'$5\r\nhello\r\n',
    'nothing': b'$0\r\n\r\n',
    'nil': b'$-1\r\n',
    'null': b'_\r\n',
    'zero': b':0\r\n',
    'number': b':7\r\n',
    'true': b'#t\r\n',
    'double': b',1.5\r\n',
    'nil list': b'*-1\r\n',
    'empty list': b'*0\r\n',
    'list of ok': b'*1\r\n$2\r\nok\r\n',
    'list of two': b'*2\r\n$2\r\nok\r\n$2\r\nok\r\n',
    'list of nil': b'*1\r\n$-1\r\n',
    'ok and too little': b'*3\r\n$2\r\nok\r\n:1\r\n:2\r\n',
    'ok and rubbish': b'*6\r\n$2\r\nok\r\n$1\r\n1\r\n*0\r\n*0\r\n:5\r\n$-1\r\n',
    'nested': b'*1\r\n*1\r\n*1\r\n:1\r\n',
    'an error inside': b'*2\r\n$2\r\nok\r\n-ERR inside\r\n',
    'long list': b'*40\r\n' + b':1\r\n' * 40,
    'map': b'%1\r\n+a\r\n+b\r\n',
    'map of lists': b'%1\r\n*0\r\n+b\r\n',
    'set': b'~1\r\n+ok\r\n',
    'error': b'-ERR something\r\n',
    'empty error': b'-\r\n',
    'another scan': b'*2\r\n$1\r\n5\r\n*0\r\n',
    'half a page': b'*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n',
    'NOSCRIPT': b'-NOSCRIPT No matching script.\r\n',
    'MOVED': b'-MOVED 1 127.0.0.1:1\r\n',
    'ASK': b'-ASK 1 127.0.0.1:1\r\n',
    'BUSY': b'-BUSY Redis is busy\r\n',
    'LOADING': b'-LOADING\r\n',
    'READONLY': b'-READONLY no\r\n',
    'CLUSTERDOWN': b'-CLUSTERDOWN\r\n',
    'two at once': b'+ok\r\n+ok\r\n',
    'web page': b'HTTP/1.1 400 Bad Request\r\n\r\n',
    'rubbish': b'\x00\xff\x00\xff\r\n',
    'a push': b'>2\r\n+message\r\n+x\r\n',
    'silence': b'',
}

# What is a good answer for some calls: of nothing there, of a page.
GOOD = {
    'ok': {
        *('enqueue', 'own id', 'enqueue many', 'release', 'keep', 'release many', 'requeue', 'bury', 'touch'),
        *('touch many', 'cancel', 'redrive', 'redrive all', 'limit', 'pause', 'resume'),
    },
    'list of ok': {'enqueue', 'own id', 'release', 'keep', 'requeue', 'bury', 'touch', 'cancel', 'redrive', 'resume'},
    'list of two': {'enqueue many', 'release many', 'touch many'},
    'set': {'enqueue', 'own id', 'release', 'keep', 'requeue', 'bury', 'touch', 'cancel', 'redrive', 'resume'},
    'zero': {'redrive all'},
}
GOOD['two at once'] = GOOD['ok']
QUICK = {
    'nil', 'nested', 'MOVED', 'silence',
}  # fmt: skip
"""Those of every run; the others are alike, and all together take their time."""
QUICK_SYNC = {'number', 'silence'}
"""The same of the synchronous queue, which reads replies by the same code."""
REFUSALS = {'error', 'empty error', 'MOVED'}
"""What a server says to who is not to try again: an error for all, whoever waits too."""

Verbs = dict[str, Callable[[Any], Any]]


def quick_and_long(kinds: Iterable[str], quick: Iterable[str] = QUICK) -> list[Any]:
    return [kind if kind in quick else pytest.param(kind, marks=pytest.mark.long) for kind in kinds]


def verbs(ids: list[TorrelqueTaskId]) -> Verbs:
    """Calls of all kinds; each of those that settle has a task of its own."""
    return {
        'enqueue': lambda queue: queue.enqueue(1),
        'own id': lambda queue: queue.enqueue(1, task_id='own', group='g'),
        'enqueue many': lambda queue: queue.enqueue_many([1, 2]),
        'release': lambda queue: queue.release(ids[0]),
        'keep': lambda queue: queue.release(ids[1], result=1),
        'release many': lambda queue: queue.release_many(ids[2:4]),
        'requeue': lambda queue: queue.requeue(ids[4]),
        'bury': lambda queue: queue.bury(ids[5]),
        'touch': lambda queue: queue.touch(ids[6]),
        'touch many': lambda queue: queue.touch_many(ids[6:8]),
        'cancel': lambda queue: queue.cancel(ids[8]),
        'redrive': lambda queue: queue.redrive('some'),
        'redrive all': lambda queue: queue.redrive(),
        'sweep': lambda queue: queue.sweep(),
        'stats': lambda queue: queue.get_queue_stats(),
        'group stats': lambda queue: queue.get_group_stats('g'),
        'limit': lambda queue: queue.set_limit('g', concurrency=1),
        'default limit': lambda queue: queue.set_limit(concurrency=math.inf),
        'limits': lambda queue: queue.get_limits(),
        'pause': lambda queue: queue.pause('g'),
        'resume': lambda queue: queue.resume('g'),
        'state': lambda queue: queue.get_task_state(ids[9]),
        'dequeue': lambda queue: queue.dequeue(0.5),
        'dequeue at once': lambda queue: queue.dequeue(0),
    }


@pytest.fixture
async def faulty(
    proxy: Proxy, queue_name: str, hasty: None, bound: Bound
) -> AsyncIterator[Torrelque]:
    """A queue object behind a line that may lie, which does not wait as long as others."""
    bound(repeat=1.5, silence=1)
    async with proxy.client() as client, Torrelque(client, queue=queue_name) as queue:
        await queue.get_queue_stats()
        yield queue
        proxy.lie = None
        proxy.cut()


async def names_of(queue: Torrelque) -> list[str]:
    return [name async for name in queue.groups()]


def judge(kind: str, said: dict[str, Any]) -> dict[str, Any]:
    """What is no error of ours that names its queue, and no good answer."""
    return {
        verb: answer
        for verb, answer in said.items()
        if not (isinstance(answer, TorrelqueError) and answer.queue) and verb not in GOOD.get(kind, ())
    }


@pytest.mark.parametrize('kind', quick_and_long(WORDS))
@pytest.mark.share(3)
async def test_no_call_hangs_or_succeeds_by_a_reply_of_another_kind(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, kind: str
) -> None:
    await queue.enqueue_many(range(11))
    ids = [task_id for task_id, _ in await faulty.dequeue(5, max_tasks=10)]
    calls: dict[str, Coroutine[Any, Any, Any]] = {name: verb(faulty) for name, verb in verbs(ids).items()}
    calls['groups'] = names_of(faulty)
    waiting = asyncio.ensure_future(faulty.dequeue())
    assert (await waiting)[1] == 10
    waiting = asyncio.ensure_future(faulty.dequeue())
    proxy.lie = WORDS[kind]
    answers = await asyncio.wait_for(asyncio.gather(*calls.values(), return_exceptions=True), 100)
    assert judge(kind, dict(zip(calls, answers, strict=True))) == {}
    timed_out = answers[[*calls].index('dequeue')]
    assert isinstance(timed_out, TorrelqueError if kind in REFUSALS else TorrelqueTimeoutError)

    # Whoever waits waits on, and all is well when the connection is.
    assert waiting.done() == (kind in REFUSALS)
    proxy.lie = None
    proxy.cut()
    await queue.enqueue('after')
    if waiting.done():
        assert isinstance(waiting.exception(), TorrelqueError)
        waiting = asyncio.ensure_future(faulty.dequeue())
    assert (await asyncio.wait_for(waiting, 100))[1] == 'after'
    assert await faulty.get_queue_stats() == await queue.get_queue_stats()


async def test_no_call_outlives_a_peer_that_trickles(proxy: Proxy, faulty: Torrelque, queue: Torrelque) -> None:
    await queue.enqueue_many(range(10))
    ids = [task_id for task_id, _ in await faulty.dequeue(5, max_tasks=10)]
    proxy.lie, proxy.drip = b'$100000\r\n' + b'x' * 100_000, 0.05
    calls = {name: verb(faulty) for name, verb in verbs(ids).items()}
    answers = await asyncio.wait_for(asyncio.gather(*calls.values(), return_exceptions=True), 100)
    said = dict(zip(calls, answers, strict=True))
    assert judge('', said) == {}
    assert isinstance(said['release'], TorrelqueConnectionError)


async def test_a_large_reply_that_comes_slowly_is_no_silence(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, bound: Bound
) -> None:
    """It takes longer than a call is repeated, and each tick brings some of it."""
    bound(trickle_bytes=8)
    await queue.enqueue(1)
    taken, _ = await faulty.dequeue(5)
    proxy.lie, proxy.drip = b'$60\r\n' + b'x' * 60 + b'\r\n', 0.04
    with pytest.raises(TorrelqueError, match='cannot be read'):
        await asyncio.wait_for(faulty.release(taken), 100)
    assert len([request for request in proxy.requests if b'EVAL' in request and taken.encode() in request]) == 1


@pytest.mark.parametrize('word', ['NOSCRIPT', 'MOVED', 'BUSY'])
async def test_what_says_go_on_is_followed_with_pauses_and_an_end(
    proxy: Proxy, faulty: Torrelque, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr(faulty._started()._link._connector, 'cluster', True)
    proxy.requests.clear()
    proxy.lie_to = b'EVAL'
    proxy.lie = WORDS[word]
    with pytest.raises(TorrelqueConnectionError):
        await faulty.enqueue(1)
    # 1.5 s, and 50 ms from one to the next; a busy machine makes fewer.
    assert len([request for request in proxy.requests if b'EVAL' in request]) < 50


# Threads


@pytest.fixture
def impatient(hasty: None, bound: Bound) -> None:
    """Threads do not wait as long as others."""
    bound(repeat=0.5, silence=0.3)


@pytest.mark.parametrize('kind', quick_and_long([*WORDS, 'trickle'], QUICK_SYNC))
@pytest.mark.share(3)
async def test_no_synchronous_call_hangs_or_succeeds_by_a_reply_of_another_kind(
    proxy: Proxy, queue: Torrelque, queue_name: str, kind: str, impatient: None, bound: Bound
) -> None:
    await queue.enqueue_many(range(10))
    if kind == 'trickle':
        # A busy machine is not silent for so long between two bytes.
        bound(silence=2.0)

    def ask(name: str, verb: Callable[[Any], Any], said: dict[str, Any]) -> None:
        try:
            said[name] = verb(faulty)
        except Exception as exc:
            said[name] = exc

    client = redis.Redis(unix_socket_path=proxy.path)
    with client, torrelque.sync.Torrelque(client, queue=queue_name) as faulty:
        ids = [task_id for task_id, _ in await asyncio.to_thread(faulty.dequeue, 5, max_tasks=10)]
        if kind == 'trickle':
            # Whoever connects hears what it asks for, and whoever calls does not.
            proxy.lie, proxy.drip, proxy.lie_to = b'$100000\r\n' + b'x' * 100_000, 0.05, queue_name.encode()
        else:
            proxy.lie = WORDS[kind]
        said: dict[str, Any] = {}
        calls = {**verbs(ids), 'groups': lambda queue: [*queue.groups()]}
        threads = [threading.Thread(target=ask, args=(*call, said), daemon=True) for call in calls.items()]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.02)
        assert judge(kind, said) == {}
        proxy.lie = None
        proxy.cut()



GOING = ['times out', 'is cancelled', 'closes']


@pytest.mark.parametrize('going', GOING)
async def test_what_an_unreadable_claim_took_goes_to_others_at_once(
    proxy: Proxy, faulty: Torrelque, queue: Torrelque, going: str, bound: Bound
) -> None:
    """Whoever asked for it goes before it has asked again."""
    bound(grace=0.0)
    await queue.enqueue('taken', task_timeout=600)
    spoil = faulty._started().shelf._claimed

    def take(reply: Any, error: Exception | None) -> None:
        spoil([b'ok', 1] if error is None and len(reply) > 6 and not spoilt else reply, error)
        spoilt.append(reply)

    spoilt: list[Any] = []
    faulty._started().shelf._claimed = take  # type: ignore[method-assign]
    waiting = asyncio.ensure_future(faulty.dequeue(0.001 if going == 'times out' else None))
    while not spoilt:
        await asyncio.sleep(0)
    if going == 'is cancelled':
        waiting.cancel()
    elif going == 'closes':
        await faulty.aclose()
    await asyncio.wait([waiting])
    if going == 'times out' and waiting.exception() is None:
        # The reply came later than the time was over, and was waited for.
        assert await faulty.requeue(waiting.result()[0])
    other = asyncio.ensure_future(queue.dequeue())
    assert (await asyncio.wait_for(other, 60))[1] == 'taken'
    assert other.result()[0].attempt == 2

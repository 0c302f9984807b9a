"""The helpers that other tests stand on do what their names say."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions

from support.processes import TEST
from support.servers import MakeServer, MissingServerError, RealServer, binary_of
from support.topology import Cluster, Sentinel


async def test_server_is_empty_at_the_start_of_a_test(server: RealServer, client: redis.asyncio.Redis) -> None:
    assert await client.dbsize() == 0
    await client.set('left', 'behind')


async def test_server_was_emptied_after_another_test(server: RealServer, client: redis.asyncio.Redis) -> None:
    assert await client.dbsize() == 0
    await client.set('left', 'behind')


def test_unknown_kind_of_server_is_refused() -> None:
    with pytest.raises(MissingServerError, match='no kind of server'):
        binary_of('memcached')


def test_missing_server_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('support.servers.SERVERS', tmp_path)
    with pytest.raises(MissingServerError, match=r'python test/support/servers\.py install redis6'):
        binary_of('redis6')


async def test_killed_server_comes_back_at_its_address_with_its_data(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server({'maxmemory': '50mb'}, directory=tmp_path, tcp=True)
    pid = server.pid
    async with (
        server.client(decode_responses=True, retry=None) as client,
        redis.asyncio.Redis(port=server.port, decode_responses=True) as tcp,
    ):
        await client.set('key', 'value')
        server.kill()
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.get('key')
        server.start()
        assert server.pid != pid
        assert await client.get('key') == await tcp.get('key') == 'value'
        assert (await client.config_get('maxmemory'))['maxmemory'] == str(50 << 20)


async def test_paused_server_does_not_answer_until_it_is_resumed(make_server: MakeServer) -> None:
    server = make_server()
    async with server.client() as client:
        await client.set('key', '1')
    async with server.client(socket_timeout=0.05, retry=None) as client:
        server.pause()
        # What it waits for in vain is the reply, or that of the handshake.
        with pytest.raises((redis.exceptions.TimeoutError, redis.exceptions.ConnectionError)):
            await client.incr('key')
        server.resume()
    async with server.client() as client:
        assert int(await client.incr('key')) in (2, 3)


async def test_slot_of_a_cluster_can_be_moved_half_and_whole(cluster: Cluster) -> None:
    slot = cluster.slot_of('{q}')
    source = cluster.owner_of(slot)
    target = (source + 1) % 3
    async with cluster.client(decode_responses=True) as client:
        await client.mset({'{q}a': '1', '{q}b': '2'})

        cluster.begin_move(slot, target, keys=['{q}a'])
        assert cluster.owner_of(slot) == source
        with cluster.nodes[target].sync_client() as node, pytest.raises(redis.exceptions.TryAgainError):
            with node.pipeline(transaction=False) as pipe:
                pipe.execute_command('ASKING').mget('{q}a', '{q}b').execute()
        assert [await client.get('{q}a'), await client.get('{q}b')] == ['1', '2']

        cluster.finish_move(slot, target)
        assert cluster.owner_of(slot) == target
        assert await client.mget('{q}a', '{q}b') == ['1', '2']

        cluster.move_slot(slot, source)
        assert await client.mget('{q}a', '{q}b') == ['1', '2']


@pytest.mark.first_server
async def test_sentinel_client_follows_the_failover(sentinel: Sentinel) -> None:
    async with sentinel.master_for(decode_responses=True) as client:
        await client.set('key', 'value')
        await client.execute_command('WAIT', 1, 0)
        sentinel.kill_primary()
        sentinel.wait_failover()
        # The Sentinel is asked for each new connection only.
        await client.connection_pool.disconnect()
        assert await client.get('key') == 'value'
        await client.set('key', 'changed')
        async with sentinel.replica.client(decode_responses=True) as replica:
            assert await replica.get('key') == 'changed'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_children_hear_what_the_run_was_told_to_ignore(number: signal.Signals) -> None:
    code = (
        'import signal, subprocess, sys\n'
        'from support.processes import hear_signals_in_children\n'
        'number = signal.Signals(int(sys.argv[1]))\n'
        'signal.signal(number, signal.SIG_IGN)\n'
        'hear_signals_in_children()\n'
        'signal.raise_signal(number)\n'
        'child = subprocess.Popen(["sleep", "60"])\n'
        'child.send_signal(number)\n'
        'assert child.wait() == -number\n'
    )
    subprocess.run([sys.executable, '-c', code, str(int(number))], cwd=TEST, check=True)

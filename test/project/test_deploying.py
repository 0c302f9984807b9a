"""The files that the page on deploying shows: each is read as whoever it is for reads it, and they agree."""

from __future__ import annotations

import argparse
import asyncio
import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions
import yaml

from support.servers import MakeServer
from support.waiting import idle
from torrelque import Torrelque, TorrelqueServerError
from torrelque.cli.parser import make_parser
from torrelque.cli.probes import TOUCH
from torrelque.monitor.site import PATHS
from torrelque.operate import Operator, Selection
from torrelque.tasks import Tasks
from torrelque.worker import Worker

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'deploying.md'
_FILE = re.compile(r'(?ms)^`(/\w+/[^`\n]+|[\w-]+\.[a-z]+|Dockerfile)`[^\n]*:\n\n```\w+\n(.*?)^```$')
FILES = dict(_FILE.findall(PAGE.read_text()))

ENDING = 15
"""s that whoever kills waits for longer than the worker does, by what the page says."""


def options_of(words: Sequence[str]) -> argparse.Namespace:
    """What a command line of `torrelque run` says; it is one that can be meant."""
    assert Path(words[0]).name == 'torrelque'
    found = make_parser().parse_args([*words[1:]])
    assert found.command.name == 'run'
    return found


def seconds(text: str) -> float:
    """A time as compose files have it."""
    return float(text.removesuffix('s'))


def test_files_are_found() -> None:
    assert {Path(name).name for name in FILES} == {
        'shop-worker.service', 'Dockerfile', 'compose.yaml', 'worker.yaml', 'scale.yaml', 'redis.conf', 'users.acl',
    }  # fmt: skip


def test_rule_of_the_grace_periods_is_what_files_keep() -> None:
    assert f'`--shutdown-timeout` + {ENDING} s' in PAGE.read_text()


# systemd


class _Unit(configparser.ConfigParser):
    def optionxform(self, optionstr: str) -> str:
        # Names of systemd have capitals.
        return optionstr


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = _Unit(interpolation=None, strict=True)
    parser.read_string(FILES['/etc/systemd/system/shop-worker.service'])
    return parser


def test_unit_starts_a_command_that_can_be_meant_and_waits_for_its_end(unit: configparser.ConfigParser) -> None:
    service = unit['Service']
    found = options_of(shlex.split(service['ExecStart']))
    assert float(service['TimeoutStopSec']) >= found.shutdown_timeout + ENDING
    # The parent replaces one process before systemd replaces them all; a reload needs a parent.
    assert found.stall + 10 < float(service['WatchdogSec']) and found.processes > 1
    assert (service['Type'], service['RestartPreventExitStatus']) == ('notify', '2')


def test_unit_is_one_for_systemd(unit: configparser.ConfigParser, tmp_path: Path) -> None:
    if shutil.which('systemd-analyze') is None:
        pytest.skip('there is no systemd-analyze')
    text = FILES['/etc/systemd/system/shop-worker.service']
    for name in ('.venv/bin/torrelque', ''):
        text = text.replace(f'/srv/shop/{name}'.rstrip('/'), sys.executable if name else str(tmp_path))
    path = tmp_path / 'shop-worker.service'
    path.write_text(text)
    found = subprocess.run(['systemd-analyze', 'verify', str(path)], capture_output=True, text=True)
    told = [line for line in found.stderr.splitlines() if 'shop-worker' in line]
    assert (found.returncode, told) == (0, []), found.stderr


# Containers


def test_dockerfile_starts_a_command_that_can_be_meant() -> None:
    lines = FILES['Dockerfile'].splitlines()
    words = {line.partition(' ')[0] for line in lines}
    assert words == {'FROM', 'WORKDIR', 'COPY', 'RUN', 'USER', 'EXPOSE', 'CMD'}
    found = options_of(json.loads(lines[-1].removeprefix('CMD ')))
    assert f'EXPOSE {found.health[1]}' in lines
    assert f'over {found.shutdown_timeout:g} |' in PAGE.read_text()


def test_compose_waits_for_the_end_and_looks_at_the_file_that_is_touched() -> None:
    services = yaml.safe_load(FILES['compose.yaml'])['services']
    worker = services['worker']
    found = options_of(shlex.split(worker['command']))
    assert seconds(worker['stop_grace_period']) >= found.shutdown_timeout + ENDING
    kind, command = worker['healthcheck']['test']
    assert kind == 'CMD-SHELL' and found.health_file in command
    assert TOUCH * 2 < 60  # the minute of find
    assert worker['environment']['REDIS_URL'] == 'redis://queue' and 'queue' in services


def test_probe_by_the_file_ends_as_it_should(tmp_path: Path) -> None:
    command = yaml.safe_load(FILES['compose.yaml'])['services']['worker']['healthcheck']['test'][1]
    file = tmp_path / 'alive'
    command = command.replace('$$', '$').replace('/tmp/alive', str(file))
    assert '\ntest -n "$(find /tmp/alive -mmin -1)"\n' in PAGE.read_text()
    ends = []
    for age in (None, 0, 120):
        if age is not None:
            subprocess.run(['touch', '-d', f'{age} seconds ago', str(file)], check=True)
        ends.append(subprocess.run(['sh', '-c', command], stderr=subprocess.DEVNULL).returncode == 0)
    assert ends == [False, True, False]


# Kubernetes


def test_deployment_asks_where_the_worker_answers_and_waits_for_its_end() -> None:
    spec = yaml.safe_load(FILES['worker.yaml'])['spec']
    assert spec['selector']['matchLabels'] == spec['template']['metadata']['labels']
    pod = spec['template']['spec']
    (container,) = pod['containers']
    found = options_of(container['args'])
    assert pod['terminationGracePeriodSeconds'] >= found.shutdown_timeout + ENDING
    assert f'{pod["terminationGracePeriodSeconds"]} s over {found.shutdown_timeout:g} |' in PAGE.read_text()
    ports = {port['name']: port['containerPort'] for port in container['ports']}
    probes = {name: container[f'{name}Probe'] for name in ('startup', 'liveness', 'readiness')}
    paths = {name: probe['httpGet']['path'] for name, probe in probes.items()}
    assert paths == {'startup': '/started', 'liveness': '/live', 'readiness': '/ready'}
    assert {*paths.values()} < {*PATHS}
    for probe in probes.values():
        assert ports[probe['httpGet']['port']] == found.health[1]
    live = probes['liveness']
    assert live['periodSeconds'] * live['failureThreshold'] >= found.stall


def test_scaling_goes_by_what_the_pods_have_and_by_what_is_told() -> None:
    deployment = yaml.safe_load(FILES['worker.yaml'])
    scaled = yaml.safe_load(FILES['scale.yaml'])
    spec = scaled['spec']
    assert spec['scaleTargetRef']['name'] == deployment['metadata']['name']
    (trigger,) = spec['triggers']
    found = options_of(deployment['spec']['template']['spec']['containers'][0]['args'])
    metadata = trigger['metadata']
    assert trigger['type'] == 'metrics-api' and metadata['valueLocation'] == 'useful'
    assert metadata['targetValue'] == str(found.concurrency * (found.processes or 1))
    assert re.fullmatch(r'http://[\w.-]+:9109/scale\.json\?q=shop', metadata['url'])
    assert spec['minReplicaCount'] == 1


def test_page_has_every_path_that_is_answered() -> None:
    assert re.findall(r'(?m)^\| `(/[\w.]+)` ', PAGE.read_text()) == [*PATHS]


# The server


def settings() -> Iterator[tuple[str, str]]:
    for line in FILES['redis.conf'].splitlines():
        name, _, value = line.partition(' ')
        yield name, value


def make_app(url: str) -> Tasks:
    app = Tasks.from_url(url, queue='shop')

    @app.task(name='shop.send')
    async def send(to: str) -> str:
        return to

    @app.task(name='shop.fail', max_attempts=2, retry=0.1)
    async def fail() -> None:
        raise ValueError('no')

    return app


SPARED = ('config', 'config|get', 'client')
"""What is asked for, and done without: in Redis 6 a client library may not tell its name."""


async def denied(client: redis.asyncio.Redis) -> list[tuple[str, str]]:
    """What users were refused since this was asked last: what it was, and where."""
    found = [(str(line['object']), str(line['context'])) for line in await client.acl_log()]
    await client.acl_log_reset()
    return sorted(found)


@pytest.mark.long
async def test_users_of_the_server_may_do_what_they_are_for_and_no_more(
    make_server: MakeServer, tmp_path: Path
) -> None:
    (tmp_path / 'users.acl').write_text(FILES['/etc/redis/users.acl'])
    server = make_server({**dict(settings()), 'aclfile': str(tmp_path / 'users.acl')}, directory=tmp_path)
    async with server.client(username='admin', password='ADMIN') as admin:
        shop = server.url.replace('unix://', 'unix://shop:APPLICATION@')
        looker = server.url.replace('unix://', 'unix://looker:OPERATOR@')
        await produce_and_work(shop)
        assert {what for what, _ in await denied(admin)} <= {*SPARED}
        await check_bounds(shop)
        await denied(admin)

        # Whoever looks sees all of it, and changes nothing.
        before = await dump(admin)
        async with redis.asyncio.Redis.from_url(looker) as client, Torrelque(client, queue='shop') as queue:
            operator = Operator(queue)
            assert (await operator.overview()).queue == 'shop'
            assert (await operator.errors()).errors and await operator.functions() and await operator.explain()
            assert [task.function async for task in operator.tasks(Selection(status='dead'))] == ['shop.fail']
            await operator.groups()
            await operator.workers()
            await operator.examine()
            # Nor does it note that it has seen the queue.
            assert {what for what, _ in await denied(admin)} <= {*SPARED, 'info', 'zadd'}
            with pytest.raises(TorrelqueServerError):
                await queue.redrive()
        assert await dump(admin) == before


async def produce_and_work(url: str) -> None:
    """All that producers and workers of decorated functions do, on their way and back."""
    app = make_app(url)
    queue = app.queue
    late = await queue.enqueue({'task': 'shop.send', 'args': ['late']}, delay=0.2, group='acme')
    await queue.set_limit('acme', concurrency=1, rate=(10, 1))
    await queue.enqueue_many([{'task': 'shop.send', 'args': ['many']}] * 3)
    gone = await queue.enqueue({'task': 'shop.send', 'args': ['gone']}, delay=100)
    await queue.cancel(gone)
    await queue.pause()
    await queue.resume()
    fail = await app.enqueue('shop.fail')
    async with Worker(app, heartbeat=0.1):
        handle = await app.enqueue('shop.send', 'joe')
        assert await handle.result(timeout=60) == 'joe'
        await queue.wait(late, timeout=60)
        while (await fail.state()).status.name != 'DEAD':
            await asyncio.sleep(0.01)
        await idle(queue, 1)
        await asyncio.sleep(0.3)  # a beat or two
    await app.aclose()


async def check_bounds(url: str) -> None:
    """Other keys, other channels, what is dangerous, and whoever gives no name, are refused."""
    with pytest.raises(redis.exceptions.ConnectionError, match='must be called with the client already authenticated'):
        async with redis.asyncio.Redis.from_url(url.replace('shop:APPLICATION@', '')) as client:
            await client.ping()
    async with redis.asyncio.Redis.from_url(url) as client:
        for words in (('GET', 'other'), ('SET', '{shop', '1'), ('FLUSHALL',), ('KEYS', '*'), ('CONFIG', 'GET', 'dir')):
            with pytest.raises(redis.exceptions.NoPermissionError):
                await client.execute_command(*words)
        with pytest.raises(redis.exceptions.NoPermissionError):
            async with client.pubsub() as channel:
                await channel.subscribe('__keyspace@0__:{other}:task:1')
                await channel.parse_response()


async def dump(client: redis.asyncio.Redis) -> dict[Any, Any]:
    return {key: await client.dump(key) for key in await client.keys('*') if await client.pttl(key) < 0}


@pytest.mark.long
async def test_settings_of_the_server_are_well(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server({name: value for name, value in settings() if name != 'aclfile'}, directory=tmp_path)
    async with server.client() as client, Torrelque(client, queue='shop') as queue:
        assert await client.config_get('maxmemory-policy') == {'maxmemory-policy': 'noeviction'}
        notes = await Operator(queue).examine()
        assert [note for note in notes if note.level in ('error', 'warning')] == []

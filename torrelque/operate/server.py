"""Whether a server is fit for a queue: its version, its settings, its memory, its clock, how fast it answers.

A user of the server may be refused a part of the answers; then that is what is found.
"""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torrelque import TorrelqueQueue, TorrelqueServerError

OLDEST = (6, 2)
"""The oldest Redis that is supported."""
NOTIFICATIONS = 'notify-keyspace-events'
REFUSED = 'not allowed to look'


class Note(NamedTuple):
    """A finding before the queue is named: level, subject, text, advice."""

    level: str
    subject: str
    text: str
    advice: str | None = None


def _read_info(data: bytes) -> dict[str, str]:
    lines = (line.partition(':') for line in data.decode('utf-8', 'replace').splitlines() if line[:1] != '#')
    return {name: value.strip() for name, colon, value in lines if colon}


def _number(info: Mapping[str, str], name: str) -> int:
    value = info.get(name, '')
    return int(value) if value.isdecimal() and len(value) < 20 else 0


async def look_at_server(queue: TorrelqueQueue) -> list[Note]:
    """What was found of the server of a queue."""
    notes: list[Note] = []
    try:
        data: bytes = await queue.command('INFO')
    except TorrelqueServerError:
        notes.append(Note('note', 'server', f'{REFUSED} at the server (INFO)', 'have the user of the server +info'))
    else:
        info = _read_info(data)
        keydb = b'# KeyDB' in data
        for look in (_version, _role, _policy, _memory, _persistence, _clients):
            notes += look({**info, 'keydb': '1' if keydb else ''})
    notes.append(await _notifications(queue))
    notes += await _clock(queue)
    return notes


def _version(info: Mapping[str, str]) -> Iterator[Note]:
    redis = info.get('redis_version', '')
    if 'valkey_version' in info:
        kind = f'Valkey {info["valkey_version"]}'
    else:
        kind = f'KeyDB {redis}' if info.get('keydb') else f'Redis {redis or "of an unknown version"}'
    parts = redis.split('.')
    known = len(parts) >= 2 and all(part.isdecimal() for part in parts[:2])
    if known and (int(parts[0]), int(parts[1])) < OLDEST:
        yield Note('error', 'version', f'{kind} is too old: scripts need Redis 6.2', 'use a newer server')
    else:
        cluster = ', a node of a Cluster' if info.get('cluster_enabled') == '1' else ''
        yield Note('ok', 'version', kind + cluster)


def _role(info: Mapping[str, str]) -> Iterator[Note]:
    if info.get('role') == 'slave':
        away = '' if info.get('master_link_status') == 'up' else ', and its primary is away'
        yield Note(
            'error', 'role', f'the server is a replica: it takes no writes, and what it tells may be old{away}',
            'connect to the primary',
        )  # fmt: skip


def _policy(info: Mapping[str, str]) -> Iterator[Note]:
    policy, evicted = info.get('maxmemory_policy'), _number(info, 'evicted_keys')
    if policy is None:
        yield Note('note', 'maxmemory-policy', 'the server does not tell')
    elif policy == 'noeviction':
        yield Note('ok', 'maxmemory-policy', 'noeviction: a full server refuses new tasks, and loses none')
    else:
        tasks = policy.startswith('allkeys')
        others = 'results that are kept, what workers tell of themselves, and records of claims'
        lost = f'{"tasks" if tasks else others} are lost'
        done = f'; {evicted} keys were, since it started' if evicted else ''
        yield Note(
            'error' if tasks else 'warning', 'maxmemory-policy',
            f'{policy}: a full server throws keys away, and {lost}{done}',
            'redis-cli CONFIG SET maxmemory-policy noeviction, and the same in the configuration of the server',
        )  # fmt: skip


def _memory(info: Mapping[str, str]) -> Iterator[Note]:
    used, most = _number(info, 'used_memory'), _number(info, 'maxmemory')
    if not most:
        yield Note('ok', 'memory', f'{used / 1e6:.1f} MB are used, without a maxmemory')
        return
    part = used / most
    level = 'error' if part >= 0.98 else 'warning' if part >= 0.85 else 'ok'
    text = f'{used / 1e6:.1f} of {most / 1e6:.1f} MB are used, {part:.0%}'
    advice = 'give the server more memory, or work the queue off: a full server refuses new tasks'
    yield Note(level, 'memory', text, None if level == 'ok' else advice)


def _persistence(info: Mapping[str, str]) -> Iterator[Note]:
    failed = [
        name
        for name in ('rdb_last_bgsave_status', 'aof_last_write_status', 'aof_last_bgrewrite_status')
        if info.get(name, 'ok') != 'ok'
    ]
    if failed:
        yield Note(
            'error', 'persistence', f'the server could not write its data down: {", ".join(failed)}',
            'look at the log of the server, and at its disk',
        )  # fmt: skip
    if info.get('aof_enabled') == '1':
        yield Note('ok', 'persistence', 'appendonly is on')
    elif info.get('aof_enabled') == '0':
        yield Note(
            'note', 'persistence', 'appendonly is off: a server that ends unasked loses tasks since its last snapshot',
            'redis-cli CONFIG SET appendonly yes, and the same in the configuration of the server',
        )  # fmt: skip


def _clients(info: Mapping[str, str]) -> Iterator[Note]:
    count, most = _number(info, 'connected_clients'), _number(info, 'maxclients')
    if most and count >= 0.85 * most:
        yield Note('warning', 'clients', f'{count} of {most} connections are in use', 'raise maxclients of the server')


async def _notifications(queue: TorrelqueQueue) -> Note:
    advice = f'redis-cli CONFIG SET {NOTIFICATIONS} Kghx, for whoever watches tasks'
    try:
        reply = await queue.command('CONFIG', 'GET', NOTIFICATIONS)
    except TorrelqueServerError:
        return Note('note', NOTIFICATIONS, f'{REFUSED} at settings (CONFIG GET)')
    words = [word for item in reply.items() for word in item] if isinstance(reply, dict) else list(reply or ())
    flags = words[1].decode('ascii', 'replace') if len(words) == 2 and isinstance(words[1], bytes) else ''
    if 'K' in flags and ('A' in flags or {'g', 'h', 'x'} <= set(flags)):
        return Note('ok', NOTIFICATIONS, f'{flags}: changes of watched tasks are told')
    return Note('note', NOTIFICATIONS, f'{flags!r}: watched tasks are looked at again and again', advice)


async def _clock(queue: TorrelqueQueue) -> list[Note]:
    """The server's clock beside the one of this machine, and how long the server takes to answer."""
    took, apart = float('inf'), 0.0
    for _ in range(5):
        began, there = time.monotonic(), time.time()
        try:
            seconds, fraction = await queue.command('TIME')
        except TorrelqueServerError:
            return [Note('note', 'clock', f'{REFUSED} at the clock (TIME)', 'have the user of the server +time')]
        if (passed := time.monotonic() - began) < took:
            took, apart = passed, int(seconds) + int(fraction) / 1e6 - (there + passed / 2)
    notes = []
    ahead = 'ahead of' if apart > 0 else 'behind'
    if abs(apart) - took / 2 > 1:
        notes.append(Note(
            'warning' if abs(apart) > 5 else 'note', 'clock',
            f'the server is {abs(apart):.1f} s {ahead} this machine; leases and delays go by the server',
            'set both clocks by NTP',
        ))  # fmt: skip
    else:
        notes.append(Note('ok', 'clock', f'{abs(apart):.3f} s {ahead} this machine'))
    slow = took > 0.05
    notes.append(Note(
        'warning' if slow else 'ok', 'latency', f'{took * 1000:.1f} ms for a round trip, the best of five',
        'run workers nearer to the server, or look at its slow log' if slow else None,
    ))  # fmt: skip
    return notes

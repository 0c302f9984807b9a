"""Users of a server with the rights that the page on security gives to each role, and what scripts ask for.

The page is read: what a test grants is what a reader of the page would.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.resources
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import redis.asyncio

from support.servers import RealServer
from torrelque.monitor.scripts import load as load_of_monitor
from torrelque.operate.asking import load as load_of_operate
from torrelque.protocol.scripts import load_script
from torrelque.worker.scripts import _load as load_of_worker

PAGE = Path(__file__).parents[2] / 'docs' / 'security.md'
BENEATH = {'producer': (), 'worker': ('producer',), 'operator': ('producer', 'worker'), 'reader': ()}
"""Whose lines a role has besides its own."""
SPARED = frozenset({
    'config', 'config|get', 'client', 'client|setinfo', 'client|maint_notifications', 'command',
    'command|info', 'evalsha_ro',
})  # fmt: skip
"""What is asked for and done without: the setting of notifications; in the handshake, the name of the library; whether
the server is KeyDB; scripts that only read, in the place of others."""


def lines_of(role: str, kind: str, heading: str | None = None) -> list[list[str]]:
    """The lines of a role on a kind of server, as they stand on the page, below a heading which is its name if no other
    is given: words behind the name of the user."""
    found: list[list[str]] = []
    for title, block in re.findall(r'(?ms)^### ([^\n]+)\n(?:(?!^#).)*?^```text\n(.*?)^```$', PAGE.read_text()):
        name, _, only = title.partition(', ')
        if name.lower() == (heading or role) and (not only or ('6.2' in only) is (kind == 'redis6')):
            found += [line.split()[3:] for line in block.splitlines() if line.startswith('ACL SETUSER ')]
    assert found, f'the page has no lines for {heading or role}'
    return found


def rules_of(role: str, kind: str, queue: str, sharded: bool = False) -> list[str]:
    """The rules of a role for a queue, those of the roles beneath it first, and of workers who look at alerts."""
    lines = [line for one in (*BENEATH[role], role) for line in lines_of(one, kind)]
    if role == 'worker':
        lines += lines_of(role, kind, 'alerts')
    if sharded and role != 'reader':
        lines += lines_of(role, kind, 'shards')
    rules: list[str] = []
    for word in (word for line in lines for word in line):
        rules.append(word.replace('{shop}', f'{{{queue}}}').replace('{shop:', f'{{{queue}:'))
        if sharded and '{shop}' in word:
            # What the page says of a queue with shards.
            rules.append(word.replace('{shop}', f'{{{queue}:*}}'))
    return [*dict.fromkeys(rules)]


class Users:
    """Users of one server, and whoever may do everything there."""

    def __init__(self, server: RealServer, kind: str, admin: redis.asyncio.Redis) -> None:
        self.server = server
        self.kind = kind
        self.admin = admin

    async def add(self, role: str, *queues: str, sharded: bool = False) -> str:
        """Make a user of the name and the rights of a role, for some queues; the address by which it connects."""
        rules: list[str] = []
        for queue in queues:
            some = rules_of(role, self.kind, queue, sharded)
            rules += [f'>{role}s-word' if rule.startswith('>') else rule for rule in some if rule not in rules]
        await self.admin.execute_command('ACL', 'SETUSER', role, *rules)
        return self.server.url.replace('unix://', f'unix://{role}:{role}s-word@')

    def client(self, role: str) -> redis.asyncio.Redis:
        """A client of a user that was made."""
        return self.server.client(username=role, password=f'{role}s-word')

    async def denied(self) -> set[tuple[str, str]]:
        """What users were refused since this was asked last, but for what is spared: what it was, and where."""
        found = [(str(_text(one['object'])), str(_text(one['context']))) for one in await self.admin.acl_log()]
        await self.admin.acl_log_reset()
        return {one for one in found if one[0] not in SPARED}

    async def begin(self) -> None:
        """From here on commands and scripts are counted."""
        await self.admin.acl_log_reset()
        await self.admin.script_flush()
        await self.admin.config_resetstat()

    async def used(self) -> tuple[set[str], set[str]]:
        """The commands that were sent since, by themselves or by scripts; and the scripts, by their texts."""
        stats: dict[str, Any] = await self.admin.info('commandstats')
        commands = {name.removeprefix('cmdstat_').lower() for name in stats}
        texts = all_texts()
        there = await self.admin.script_exists(*map(digest, texts))
        return commands, {text for text, known in zip(texts, there, strict=True) if known}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


@contextlib.asynccontextmanager
async def open_users(server: RealServer, kind: str) -> AsyncIterator[Users]:
    """Users, which are gone at the end."""
    async with server.client() as admin:
        await admin.acl_log_reset()
        try:
            yield Users(server, kind, admin)
        finally:
            await admin.execute_command('ACL', 'DELUSER', *BENEATH)
            await admin.acl_log_reset()


# What scripts ask for


class Asked(NamedTuple):
    """What a script may ask the server for."""

    commands: frozenset[str]
    """Commands, in small letters."""
    keys: frozenset[str]
    """Short names of keys, as far as they are spelt in it."""


_NO_COMMANDS = frozenset({
    'count', 'limit', 'match', 'weights', 'withscores', 'noperm', 'maxlen', 'rank', 'nx', 'px',
})  # fmt: skip
"""Words of commands, and of errors, that look like commands."""


def asked_by(text: str) -> Asked:
    """What a script may ask for, by its text."""
    commands = {word.lower() for word in re.findall(r"'([A-Z]{3,})'", text)} - _NO_COMMANDS
    return Asked(frozenset(commands), frozenset(re.findall(r"base \.\. '(\w+):?'", text)))


def digest(text: str) -> str:
    """By what a server knows a script."""
    return hashlib.sha1(text.encode()).hexdigest()


def names_of(layer: str) -> list[str]:
    """The scripts of a layer, without parts of such."""
    folder = importlib.resources.files(layer) / 'script'
    names = sorted(path.name.removesuffix('.lua') for path in folder.iterdir() if path.name.endswith('.lua'))
    return [name for name in names if not name.startswith('_')]


@functools.cache
def core_texts() -> dict[str, str]:
    """The scripts of transitions, by their names."""
    return {name: load_script(name).text.decode() for name in names_of('torrelque')}


@functools.cache
def all_texts() -> tuple[str, ...]:
    """All scripts of the package, as they are sent."""
    from torrelque.cron.asking import _load as load_of_cron
    from torrelque.operate.acts import _script as load_act
    from torrelque.sharded.generations import _script as load_map

    texts = [*core_texts().values(), load_act(), load_map()]
    texts += [load_of_worker(name)[0] for name in names_of('torrelque.worker')]
    texts += [load_of_operate(name)[0] for name in names_of('torrelque.operate') if name != 'act']
    texts += [load_of_monitor(name)[0] for name in names_of('torrelque.monitor')]
    texts += [load_of_cron(name) for name in names_of('torrelque.cron')]
    return tuple(texts)

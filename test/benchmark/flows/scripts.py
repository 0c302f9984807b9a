"""How long each script took, by the server's own log of slow commands."""

from __future__ import annotations

from typing import Any, NamedTuple

import redis

from torrelque.protocol.scripts import load_script
from torrelque.protocol.table import ROWS

SLOW = 100
"""µs from which the server notes a command."""
NOTES = 100_000
"""Commands of which it keeps a note."""
SETTINGS = {
    'notify-keyspace-events': '""',
    'slowlog-log-slower-than': str(SLOW),
    'slowlog-max-len': str(NOTES),
}
_BRIEF = frozenset({b'HINCRBY', b'DEL', b'EXISTS', b'ZSCORE', b'ZCARD', b'TIME', b'HSET', b'HGET', b'HDEL'})
"""Of what scripts do themselves, that which takes microseconds, whatever there is in the queue."""


class Look(NamedTuple):
    """What the server has noted of scripts."""

    calls: int
    """All of them, those that were too short to be noted as well."""
    busy: float
    """s that all of them took together."""
    times: dict[str, list[float]]
    """ms of each call that was noted, by script."""
    stall: float
    """The longest (ms) that a command took which takes microseconds: for so long the machine kept the server waiting,
    and a script that is not longer may be short."""

    def longest(self) -> tuple[str, float]:
        """The longest call: its script, and ms."""
        every = [(max(several), name) for name, several in self.times.items()]
        most, name = max(every, default=(0.0, 'none'))
        return name, most


class ScriptLog:
    """The server's log of scripts, which are loaded before."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._names = {load_script(name).sha: name for name in ROWS}
        for name in ROWS:
            client.script_load(load_script(name).text)

    def reset(self) -> None:
        """Forget what was."""
        self._client.config_resetstat()
        self._client.slowlog_reset()

    def read(self) -> Look:
        """Since `reset`."""
        stats: dict[str, Any] = self._client.info('commandstats')
        ran = [stats[name] for name in ('cmdstat_eval', 'cmdstat_evalsha') if name in stats]
        times: dict[str, list[float]] = {}
        stall = 0.0
        for entry in self._client.slowlog_get(NOTES):
            words = entry['command'].split(b' ', 2)
            if words[0] == b'EVALSHA':
                times.setdefault(self._names.get(words[1], 'another'), []).append(entry['duration'] / 1000)
            elif words[0] in _BRIEF:
                stall = max(stall, entry['duration'] / 1000)
        return Look(sum(one['calls'] for one in ran), sum(one['usec'] for one in ran) / 1e6, times, stall)

"""Keys of tasks that are lost or spoilt, as if a server had evicted them or somebody had edited them by hand.

A task that was damaged may be lost; all others must go on as if nothing had been, and somebody must be told its id.
"""

from __future__ import annotations

import json
from typing import Any

import redis

from model.model_checks import LASTING, Seen
from model.model_groups import DEAD
from proof.history import Recorder

PAYLOAD_LOST, PAYLOAD_BROKEN, STATE_LOST = DAMAGES = ('payload lost', 'payload broken', 'state lost')

DAMAGE = """
local tasks, state = ARGV[1] .. 'tasks', ARGV[1] .. 'task:' .. ARGV[2]
local payload = redis.call('HGET', tasks, ARGV[2])
if not payload or redis.call('EXISTS', state) == 0 then
  return 0
elseif ARGV[3] == 'payload lost' then
  return redis.call('HDEL', tasks, ARGV[2])
elseif ARGV[3] == 'payload broken' then
  redis.call('HSET', tasks, ARGV[2], string.sub(payload, 1, -2))
  return 1
-- A group keeps count of its tasks, of which nobody knows any more that this was one; one that is dead would be brought
-- back with the lease of five minutes that tasks have by default.
elseif redis.call('HEXISTS', state, 'order') == 1 or redis.call('HEXISTS', state, 'group') == 1
    or redis.call('HGET', state, 'status') == ARGV[4] then
  return 0
end
return redis.call('DEL', state)
"""


class Vandal:
    """Damages tasks of a queue, and remembers which."""

    def __init__(self, admin: Any, prefix: str, recorder: Recorder) -> None:
        self._admin = admin
        self._prefix = prefix
        self._recorder = recorder
        self._kinds: dict[str, str] = {}

    async def damage(self, kind: str) -> bool:
        """Damage some task, once; whether there was one, and it certainly was."""
        try:
            found = await self._admin.hrandfield(f'{self._prefix}tasks', 1, withvalues=True)
            if not found or (task_id := found[0].decode()) in self._kinds:
                return False
            key = self._recorder.damage(json.loads(found[1])['job'], task_id, kind)
            self._kinds[task_id] = kind
            done = bool(await self._admin.eval(DAMAGE, 0, self._prefix, task_id, kind, DEAD))
        except redis.RedisError:
            return False
        # Where it was not, that may be the answer to a second sending: then it was, and nobody knows.
        if done:
            self._recorder.damaged(key)
        return done

    def overlook(self, seen: Seen) -> Seen:
        """The keys without what is damaged: what must hold of the others."""
        for task_id, kind in self._kinds.items():
            if kind == PAYLOAD_LOST and task_id not in seen.payloads and _is_in_a_place(seen, task_id):
                seen.payloads[task_id] = b''
            elif kind == STATE_LOST and not {'group', 'order'} & {*seen.states.get(task_id, {})}:
                # It may be in two places: when its enqueue is sent again, nobody knows it any more.
                _take_out(seen, task_id)
        return seen


def _take_out(seen: Seen, task_id: str) -> None:
    seen.pending[:] = [other for other in seen.pending if other != task_id]
    seen.holes.discard(task_id)
    seen.lives.pop(f'task:{task_id}', None)
    places: list[dict[str, Any]] = [seen.working, seen.delayed, seen.dead, seen.untold, seen.payloads, seen.states]
    for place in places:
        place.pop(task_id, None)
    if not seen.payloads:
        # Of the rest, an empty queue has no key; there is still the damaged one's.
        seen.names.intersection_update({'task', 'claim', 'rate', *LASTING})


def _is_in_a_place(seen: Seen, task_id: str) -> bool:
    waiting = {*seen.plain, *seen.priority, *seen.heads_in_turn}.union(*seen.waiting.values())
    return task_id in {*waiting, *seen.working, *seen.delayed, *seen.dead}

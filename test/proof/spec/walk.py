"""Random walks through the model of the scripts and through the scripts on a real server, side by side.

After each step the keys of the queue are what the model says, and so is the reply.  It shows that what was proved of
the model was proved of the scripts.  Leases and delays are ended by their scores, so nothing waits for a clock.

    python -m proof.spec.walk --server valkey9 --seeds 1000
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import redis

from model.model_checks import DUMP, Seen, read_dump
from proof.layers import in_time
from proof.spec.keys import (
    BURY,
    CANCELLED,
    DEAD,
    DELAY,
    DELAYED,
    GIVE,
    PENDING,
    RELEASE,
    REPLIES,
    REQUEUE,
    UNKNOWN,
    WORKING,
    bits,
)
from proof.spec.kinds import KINDS
from proof.spec.server import Server
from support.servers import RealServer
from torrelque.protocol.keys import make_keys
from torrelque.protocol.transition import Transition

STATUSES = {PENDING: '0', WORKING: '1', DELAYED: '2', DEAD: '5', CANCELLED: '6'}
LEASE = '60000'
BLOCK = '10000000'
"""ms: every deadline is nearer."""

SLOW = 3_600_000
"""ms, in which a group with a rate gets its token; nearer than a block, and longer than any run."""
EVERY = '50000'
"""ms from one probe to the next."""


class Walk:
    """A queue on a server, and the model of it."""

    def __init__(self, client: redis.Redis, queue: str, kind: str, seed: int) -> None:
        groups, limits, self.own, long, urgencies, rates, self._pauses = KINDS[kind]
        self.model = Server(groups, limits, '', long, True, urgencies, rates)
        self.random = random.Random(f'{kind} {seed}')
        self.groups = groups
        self.steps: list[str] = []
        self.deliveries: list[tuple[int, int]] = []
        self._client = client
        self._keys = make_keys(queue)
        self._long = long
        self._generations = [0] * len(groups)
        self._tokens: dict[tuple[int, int], bytes] = {}
        self._records: dict[int, tuple[tuple[int, int], ...]] = {}
        self._claims = 0
        for group, most in enumerate(limits):
            self._call('limit', f'g{group}', self._limits(group, most))

    def _limits(self, group: int, most: int) -> str:
        rate = {'rate': [1, SLOW]} if self.model.rates >> group & 1 else {}
        return json.dumps({'concurrency': most, **rate})

    def _call(self, name: str, *args: str | bytes, resent: bool = False) -> Any:
        words = Transition(name, self._keys).words(args, resent)
        if name == 'cancel' and self._long:
            words[1] = str(words[1], 'utf-8').replace('<= 500', '<= -1')  # type: ignore[arg-type]
        return self._client.execute_command(*words)

    def step(self) -> None:
        """Do something to both, and compare them."""
        steps: list[Callable[[], str]] = [
            *[self._enqueue] * 3, *[self._claim] * 4, *[self._settle] * 4, self._end, self._end, self._sweep,
            self._cancel, self._leave, self._hear, self._touch,
        ]  # fmt: skip
        if self.model.limits:
            steps.append(self._limit)
        if self.model.rates or self._pauses:
            steps += [self._come] * 2
        if self._pauses:
            steps += [self._pause, self._resume]
        self.steps.append(self.random.choice(steps)())
        self._compare()

    # Steps

    def _task(self) -> int:
        return self.random.randrange(len(self.groups))

    def _enqueue(self) -> str:
        model, task = self.model, self._task()
        if self.own and model.states[task] == CANCELLED and self.random.random() < 0.7:
            self._generations[task] += 1
            self._pass_a_moment()
        generation = self._generations[task]
        delay, resent = self.random.random() < 0.25, self.random.random() < 0.3
        options: dict[str, object] = {'timeout': int(LEASE)}
        if delay:
            options['delay'] = 50000
        if self.own:
            options['mark'] = f'e{task}{generation:013}'
        if self.groups[task] >= 0:
            options['group'] = f'g{self.groups[task]}'
        if self.model.urgencies[task]:
            options['priority'] = self.model.urgencies[task]
        text = json.dumps(options, separators=(',', ':')) if len(options) > 1 else LEASE
        reply = self._call('enqueue', '', BLOCK, f't{task}', 'payload', text, resent=resent)
        outcome = model.enqueue(task, 1 << 16 + generation if self.own else 0, resent, delay)
        self._agree(reply, outcome)
        return f'enqueue {task} {delay=} {resent=} {generation=}'

    def _pass_a_moment(self) -> None:
        # An attempt is told from the same one of an id that was used before by the millisecond.
        start = self._client.time()
        while self._client.time()[1] // 1000 == start[1] // 1000:
            pass

    def _claim(self) -> str:
        again = bool(self._claims) and self.random.random() < 0.25
        self._claims += not again
        key, resent = self._claims, again and self.random.random() < 0.5
        ack = ''
        if not again and self._records and self.random.random() < 0.7:
            acknowledged = max(self._records)
            del self._records[acknowledged]
            ack = f'{self._keys["claim"]}:c:{acknowledged}'
        wanted = self.random.choice([1, 1, 2, 3])
        reply = self._call(
            'claim', ack, f'{self._keys["claim"]}:c:{key}', str(wanted), '1', BLOCK, '1000000', resent=resent
        )
        said = self.model.claim(self._records.get(key), resent, True, wanted)
        due, more = reply[2] is not None and reply[2] <= 0, reply[3] == 1
        assert (bool(said.wait), said.due, said.more) == (reply[2] is not None, due, more), (reply, said)
        assert not reply[4], reply
        assert reply[6::4] == [b't%d' % task for task, _ in said.given], (reply, said)
        if not said.given:
            assert len(reply) == 6, reply
            return f'claim {key} of {wanted} {resent=}: nothing'
        for delivery, attempt in zip(said.given, reply[8::4], strict=True):
            token = b'%d-%b' % (attempt, reply[1])
            assert self._tokens.setdefault(delivery, token) == token
        self._records[key] = said.given
        if not said.again:
            self.deliveries += said.given
        return f'claim {key} of {wanted} {resent=}: {said.given}'

    def _delivery(self) -> tuple[int, int] | None:
        """Somebody's, who may hold the task no longer; but not from long ago: a state keeps four marks."""
        recent = [
            delivery for delivery in self.deliveries[-6:]
            if delivery[1] >= self.model.tokens[delivery[0]] - 1
        ]  # fmt: skip
        return self.random.choice(recent) if recent else None

    def _settle(self) -> str:
        delivery = self._delivery()
        if delivery is None:
            return 'nobody settles'
        (task, token), model = delivery, self.model
        verb = self.random.choice([RELEASE, REQUEUE, DELAY, BURY, GIVE])
        resent = self.random.random() < 0.3
        words, mark = (f't{task}', self._tokens[delivery]), f'r{task}{token:013}'
        if verb == RELEASE:
            unsure = self.random.random() < 0.3
            reply = self._call('release', '', words[0], words[1] + b'?0' * unsure, '', resent=resent)
            outcome = model.release(task, token, resent, int(unsure))
        elif verb == BURY:
            reply = self._call('bury', '', *words, mark, '', '', resent=resent)
            outcome = model.give_back(task, token, 1 << token, verb)
        else:
            delay, forgive = '50000' if verb == DELAY else '0', '1' if verb == GIVE else ''
            error = '' if verb == GIVE else f'{token}'
            reply = self._call('requeue', '', BLOCK, *words, mark, delay, '', forgive, error, resent=resent)
            outcome = model.give_back(task, token, 1 << token, verb)
        self._agree(reply, outcome)
        return f'settle by {verb} {delivery} {resent=}: {reply}'

    def _touch(self) -> str:
        delivery = self._delivery()
        if delivery is None:
            return 'nobody touches'
        reply = self._call('touch', '', BLOCK, f't{delivery[0]}', self._tokens[delivery], '', '')
        self._agree(reply, self.model.touch(*delivery))
        return f'touch {delivery}: {reply}'

    def _end(self) -> str:
        model = self.model
        leases, delays = [*bits(model.working & ~model.ended)], [*bits(model.delayed & ~model.due)]
        if not leases and not delays:
            return 'time goes by'
        task = self.random.choice(leases + delays)
        if task in leases:
            model.ended |= 1 << task
        else:
            model.due |= 1 << task
        # Those that are due are taken in the order of their times.
        key = 'working' if task in leases else 'delayed'
        self._client.zadd(self._keys[key], {f't{task}': task + 1})
        return f'the time of {task} has come'

    def _sweep(self) -> str:
        reply = self._call('sweep', '200')
        assert reply[3:] == [0, 0, [], [], 0, 0, 0], reply
        self.model.sweep()
        return f'sweep: {reply}'

    def _cancel(self) -> str:
        task = self._task()
        was = self.model.states[task]
        reply = self._call('cancel', f't{task}', f'c{task}{self.random.randrange(10**13):013}', '')
        expected = b'ok' if self.model.cancel(task) else [b'unknown' if was == UNKNOWN else b'final']
        assert reply == expected, reply
        return f'cancel {task}: {reply}'

    def _leave(self) -> str:
        self._call('leave', '', BLOCK)
        self.model.leave()
        return 'leave'

    def _hear(self) -> str:
        heard = self._client.lpop(self._keys['bell'])
        assert bool(heard) == bool(self.model.bell)
        self.model.bell = 0
        return f'hear the bell: {heard!r}'

    def _limit(self) -> str:
        group, most = self.random.randrange(len(self.model.limits)), self.random.choice([1, 2])
        self._call('limit', f'g{group}', self._limits(group, most))
        self.model.limit(group, most)
        return f'limit {group} is {most}'

    def _name(self, place: int) -> str:
        return '' if place == self.model.queue else f'g{place.bit_length() - 1}'

    def _come(self) -> str:
        """A token, or a probe, comes, and whoever waits for it is due."""
        model = self.model
        probed = model.paused & model.probes
        coming = [('dry', k) for k in bits(model.dry)] + [('opened', k) for k in bits(probed & ~model.opened)]
        if not coming:
            return 'no token comes'
        name, k = self.random.choice(coming)
        place = 1 << k
        group = self._name(place)
        if name == 'dry':
            model.dry ^= place
            self._client.delete(f'{self._keys["rate"]}:{group}')
        else:
            model.opened |= place
            self._client.hset(self._keys['probes'], group, f'1 {EVERY}')
        if model.rated & place and (name == 'dry') != bool(probed & place):
            self._client.zadd(self._keys['rated'], {group: 1})
        return f'{name} of {group!r} comes'

    def _place(self) -> int:
        return 1 << self.random.randrange(len(self.model.limits) + 1)

    def _pause(self) -> str:
        place, probing = self._place(), self.random.random() < 0.6
        self._call('pause', self._name(place), EVERY if probing else '')
        self.model.pause(place, probing)
        return f'pause {self._name(place)!r} {probing=}'

    def _resume(self) -> str:
        place, probing = self._place(), self.random.random() < 0.4
        reply = self._call('resume', self._name(place), '1' if probing else '')
        assert reply == (b'ok' if self.model.resume(place, probing) else [b'paused']), reply
        return f'resume {self._name(place)!r} {probing=}: {reply}'

    # Comparing

    def _agree(self, reply: Any, outcome: int) -> None:
        if reply != b'ok':
            reply = reply[0][0] if isinstance(reply[0], list) else reply[0]
        assert reply.decode() == REPLIES[outcome], (reply, REPLIES[outcome])

    def _compare(self) -> None:
        base = self._keys['pending'].removesuffix('pending')
        seen = read_dump(self._client.eval(DUMP, 0, base))
        real, said = self._real(seen), self._said()
        for name, value in said.items():
            assert real[name] == value, f'{name}: the server has {real[name]}, the model {value}'

    def _real(self, seen: Seen) -> dict[str, object]:
        count = len(self.groups)
        probes: Any = self._client.hkeys(self._keys['probes'])
        return {
            'pending': seen.pending,
            'holes': seen.holes,
            'turns': seen.turns,
            'working': set(seen.working),
            'delayed': set(seen.delayed),
            'dead': set(seen.dead),
            'payloads': set(seen.payloads),
            'bell': len(seen.bell),
            'heads': seen.heads,
            'waiting': {group: sorted(tasks, key=tasks.__getitem__) for group, tasks in seen.waiting.items()},
            'slots': seen.groups,
            'holders': set(seen.holders),
            'later': seen.later,
            'turn': (seen.seq or 0) % 2,
            'priority': set(seen.priority),
            'dry': {group for group, (left, _) in seen.buckets.items() if left < 0.5},
            'rated': set(seen.rated),
            'paused': seen.paused,
            'probes': {name.decode() for name in probes},
            'states': [seen.states.get(f't{task}', {}).get('status') for task in range(count)],
            'attempts': [
                int(seen.states.get(f't{task}', {}).get('dequeue_count', 0)) for task in range(count)
            ],
            'failed': [
                [int(line.split()[0]) for line in seen.states.get(f't{task}', {}).get('history', '').splitlines()]
                for task in range(count)
            ],
        }  # fmt: skip

    def _said(self) -> dict[str, object]:
        model = self.model

        def names(members: int) -> set[str]:
            return {f't{task}' for task in bits(members)}

        def places(members: int) -> set[str]:
            return {self._name(1 << k) for k in bits(members)}

        def by_order(members: int) -> list[str]:
            return [f't{task}' for task in sorted(bits(members), key=model.orders.__getitem__)]

        return {
            'pending': [f't{task}' for task in model.pending],
            'holes': names(model.holes),
            'turns': [f't{task}' for task in model.turns],
            'working': names(model.working),
            'delayed': names(model.delayed),
            'dead': names(model.dead),
            'payloads': names(model.payloads),
            'bell': model.bell,
            'heads': {f'g{group}': f't{task}' for group, task in enumerate(model.heads) if task >= 0},
            'waiting': {f'g{group}': by_order(members) for group, members in enumerate(model.waiting) if members},
            'slots': {f'g{group}': slots for group, slots in enumerate(model.slots) if slots >= 0},
            'holders': names(model.holders),
            'later': {f'g{group}': count for group, count in enumerate(model.later) if count},
            'turn': model.first,
            'priority': names(model.ranked),
            'dry': places(model.dry),
            'rated': places(model.rated),
            'paused': places(model.paused),
            'probes': places(model.probes),
            'states': [STATUSES.get(state) for state in model.states],
            'attempts': [
                0 if state == UNKNOWN else token - base
                for state, token, base in zip(model.states, model.tokens, model.bases, strict=True)
            ],
            'failed': [
                [number - base for number in bits(failed)][-10:]
                for failed, base in zip(model.failed, model.bases, strict=True)
            ],
        }  # fmt: skip


def walk(client: redis.Redis, kind: str, seed: int, steps: int) -> int:
    """Go so many steps; what went wrong tells them."""
    client.flushall()
    going = Walk(client, 'walk', kind, seed)
    try:
        for _ in range(steps):
            going.step()
    except AssertionError as exc:
        raise AssertionError('\n  '.join([f'{kind}, seed {seed}: {exc}', *going.steps])) from exc
    return steps


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description='Compare the model of the scripts with the scripts.')
    parser.add_argument('--server', default='valkey9')
    parser.add_argument('--seed', type=int, default=0, help='the first')
    parser.add_argument('--seeds', type=int, default=100)
    parser.add_argument('--steps', type=int, default=40)
    parser.add_argument('--until', type=float, help='s after which no further seed begins')
    options = parser.parse_args()
    start, done, steps, found = time.monotonic(), 0, 0, 0
    seeds = in_time(range(options.seed, options.seed + options.seeds), options.until)
    with RealServer(options.server) as server, server.sync_client() as client:
        for seed in seeds:
            done += 1
            for kind in KINDS:
                try:
                    steps += walk(client, kind, seed, options.steps)
                except AssertionError as exc:
                    found += 1
                    print(exc)
    figures = {'seeds': done, 'steps': steps, 'seconds': round(time.monotonic() - start, 1), 'faults_found': found}
    print(json.dumps(figures))
    return int(found > 0)


if __name__ == '__main__':
    sys.exit(main())

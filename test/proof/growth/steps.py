"""All that may happen while a group moves.

Each step is one call that one server does, or a program that reads or remembers.  Those that move the group have no
order of their own but what they have seen on the servers: so any of them may die after each step and another one begin,
there may be two at once, and one that stood still for long may go on with what it saw before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from proof.growth.world import (
    ASKED,
    DUPLICATE,
    FENCED,
    HELD,
    HOLDER,
    MOVING,
    NONE,
    OLD,
    OPENED,
    ORDER,
    SETTLED,
    UNHELD,
    UNSURE_A,
    UNSURE_B,
    A,
    B,
    Config,
    World,
    broken,
)
from proof.spec.explorer import CHOICE, FAULT, OWN, TIME, State, Step

Happens = tuple[str, int, World, str]


def with_(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])


class Growth:
    """A system that can be explored."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def _lacks(self, rule: str) -> bool:
        return self.config.removed == rule

    def initial(self) -> Iterable[State]:
        clients = len(self.config.tasks) + self.config.writers
        return [tuple(World((OLD,) * clients, (0,) * clients, (NONE,) * clients, left=tuple(self.config.budget)))]

    def broken(self, state: State) -> str:
        return broken(self.config, World(*state))

    def stuck(self, state: State) -> str:
        return ''

    def good(self, state: State) -> bool:
        """All is done, and nobody need ask A."""
        world = World(*state)
        return not self.config.ids & ~world.done and world.map == SETTLED and not world.stage and self._answered(world)

    def _answered(self, world: World) -> bool:
        producers = len(self.config.tasks)
        return all(world.sent[n] == len(self.config.tasks[n]) for n in range(producers)) and all(
            world.sent[producers:]
        )

    def steps(self, state: State) -> Iterable[Step]:
        world = World(*state)
        for label, kind, after, wrong in self._happens(world):
            if after != world or wrong:
                yield label, kind, tuple(after), wrong

    def _happens(self, world: World) -> Iterator[Happens]:
        for number, tasks in enumerate(self.config.tasks):
            if world.sent[number] < len(tasks):
                yield from self._produce(world, number, tasks[world.sent[number]])
        for number in range(len(self.config.tasks), len(world.cached)):
            yield from self._write(world, number)
        for number, known in enumerate(world.cached):
            if known != world.map:
                yield f'{number} reads the map', TIME, self._read(world, number), ''
        for late in world.late:
            rest = world._replace(late=tuple(call for call in world.late if call != late))
            yield f'a late call for {late[0]} is run', FAULT, self._accept(rest, *late)[0], ''
        for shard in (A, B):
            yield from self._consume(world, shard)
        yield from self._move(world)
        yield from self._carry(world)
        yield from self._redrive(world)

    # Producers

    def _read(self, world: World, number: int) -> World:
        return world._replace(cached=with_(world.cached, number, world.map))

    def _accept(
        self, world: World, task: int, shard: int, generation: int, resent: bool = False
    ) -> tuple[World, str, str]:
        """What a shard does with an enqueue, what it answers, and what that breaks."""
        known = world.of(shard) >> task & 1
        stale = shard == A and generation < world.fence and not self._lacks('fence')
        if resent and known and not (stale and self._lacks('fence-resent')):
            return world, 'ok', ''
        if stale:
            return world, 'stale', ''
        if known:
            return world, 'known', ''
        wrong = DUPLICATE if self.config.own and world.of(1 - shard) >> task & 1 else ''
        if self.config.delayed >> task & 1:
            return world._replace(later=with_(world.later, shard, world.later[shard] | 1 << task)), 'ok', wrong
        pending = with_(world.pending, shard, (*world.pending[shard], task))
        return world._replace(pending=pending), 'ok', wrong

    def _produce(self, world: World, number: int, task: int) -> Iterator[Happens]:
        call, generation = world.calls[number], world.cached[number]
        if call in (UNSURE_A, UNSURE_B):
            yield from self._send(world, number, task, A if call == UNSURE_A else B, resent=True)
        elif generation == OLD:
            yield from self._send(world, number, task, A)
        elif self.config.own and generation == MOVING:
            yield from self._look(world, number, task)
        else:
            yield from self._send(world, number, task, B)

    def _look(self, world: World, number: int, task: int) -> Iterator[Happens]:
        """An own id, while it is moving: A is closed for it, and asked, before B takes it."""
        call = world.calls[number]
        if call == NONE and not self._lacks('own-fence'):
            fenced = world._replace(calls=with_(world.calls, number, FENCED), fence=max(world.fence, MOVING))
            yield f'{number} raises the fence of A', OWN, fenced, ''
        elif call != ASKED and not self._lacks('own-ask'):
            if world.of(A) >> task & 1:
                yield f'{number} is told by A that {task} is there', OWN, self._answer(world, number, task), ''
            else:
                yield f'{number} asks A for {task}', OWN, world._replace(calls=with_(world.calls, number, ASKED)), ''
        else:
            yield from self._send(world, number, task, B)

    def _answer(self, world: World, number: int, task: int) -> World:
        """A producer is told that its task is in."""
        sent = with_(world.sent, number, world.sent[number] + 1)
        return world._replace(sent=sent, calls=with_(world.calls, number, NONE), acked=world.acked | 1 << task)

    def _send(self, world: World, number: int, task: int, shard: int, resent: bool = False) -> Iterator[Happens]:
        generation, name = world.cached[number], 'AB'[shard]
        if resent and shard == A and not self._lacks('resent-same'):
            generation = OLD
        after, said, wrong = self._accept(world, task, shard, generation, resent)
        if said == 'stale':
            # It sends to B next, and says that it may have been sent before.
            stale = self._read(world, number)
            yield f'{number} is refused {task} by A', OWN, stale._replace(calls=with_(stale.calls, number, NONE)), ''
        else:
            yield f'{number} enqueues {task} in {name}: {said}', OWN, self._answer(after, number, task), wrong
        if world.left[1] and not resent:
            unsure = with_(world.calls, number, UNSURE_B if shard else UNSURE_A)
            left = with_(world.left, 1, world.left[1] - 1)
            yield f'the reply for {task} is lost', FAULT, after._replace(calls=unsure, left=left), wrong
            late = tuple(sorted((*world.late, (task, shard, generation))))
            yield f'the call for {task} is late', FAULT, world._replace(calls=unsure, left=left, late=late), ''

    # Those who set the limit

    def _write(self, world: World, number: int) -> Iterator[Happens]:
        """The value is the number of the client."""
        if world.sent[number]:
            return
        shard = A if world.cached[number] == OLD else B
        if shard == A and world.cached[number] < world.fence and not self._lacks('limits-fence'):
            yield f'{number} may not set the limit in A', OWN, self._read(world, number), ''
        elif shard == A or world.copied or self._lacks('limits-wait'):
            after = world._replace(
                sent=with_(world.sent, number, 1), limits=with_(world.limits, shard, number), last=number
            )
            yield f'{number} sets the limit in {"AB"[shard]}', OWN, after, ''

    # Consumers

    def _consume(self, world: World, shard: int) -> Iterator[Happens]:
        name, out, pending = 'AB'[shard], world.out[shard], world.pending[shard]
        held = shard == B and world.hold != OPENED and not self.config.own and not self._lacks('hold')
        if pending and out < 0 and not held:
            task = pending[0]
            taken = world._replace(
                pending=with_(world.pending, shard, pending[1:]), out=with_(world.out, shard, task)
            )
            yield f'{task} is handed out by {name}', OWN, taken, self._out_of_order(world, task)
        if out >= 0:
            bit, free = 1 << out, world._replace(out=with_(world.out, shard, -1))
            wrong = HOLDER if self._lacks('settle-place') and shard == A and world.map > OLD else ''
            final = with_(world.final, shard, world.final[shard] | bit)
            yield f'{out} is released', OWN, free._replace(done=world.done | bit, final=final), wrong
            if world.left[0]:
                back = with_(world.pending, shard, (out, *pending))
                left = with_(world.left, 0, world.left[0] - 1)
                yield f'the lease of {out} ends', TIME, free._replace(pending=back, left=left), ''
            if world.left[2] and shard == A:
                left = with_(world.left, 2, world.left[2] - 1)
                died = free._replace(dead=world.dead | bit, died=world.died | bit, left=left)
                yield f'{out} dies', CHOICE, died, ''
        for task in range(self.config.ids.bit_length()):
            bit = 1 << task
            if world.later[shard] & bit:
                due = world._replace(
                    later=with_(world.later, shard, world.later[shard] & ~bit),
                    pending=with_(world.pending, shard, (*pending, task)),
                )
                yield f'{task} is due in {name}', TIME, due, ''
            if world.final[shard] & bit and (world.left[3] or self.config.own):
                final = with_(world.final, shard, world.final[shard] & ~bit)
                left = world.left if self.config.own else with_(world.left, 3, world.left[3] - 1)
                yield f'{name} forgets {task}', TIME, world._replace(final=final, left=left), ''

    def _out_of_order(self, world: World, task: int) -> str:
        before = [
            other for tasks in self.config.tasks if task in tasks for other in tasks[: tasks.index(task)]
            if not (world.done | world.died | self.config.delayed) >> other & 1
        ]  # fmt: skip
        return ORDER if before and not (self.config.delayed | world.died) >> task & 1 and not self.config.own else ''

    # Programs that move the group

    def _move(self, world: World) -> Iterator[Happens]:
        if world.hold == UNHELD:
            yield 'B holds', OWN, world._replace(hold=HELD), ''
        elif world.map == OLD:
            yield 'the map is written', OWN, world._replace(map=MOVING), ''
        if world.map == OLD:
            early = self._lacks('limits-after')
            if early and self.config.writers and world.seen < 0:
                yield 'the limit of A is read', OWN, world._replace(seen=world.limits[A]), ''
            return
        if world.fence < MOVING:
            yield 'A is fenced', OWN, world._replace(fence=MOVING), ''
        fenced = world.fence == MOVING
        if self.config.writers and fenced and world.seen < 0:
            yield 'the limit of A is read', OWN, world._replace(seen=world.limits[A]), ''
        if world.seen >= 0 and not world.copied:
            copied = world._replace(copied=1, limits=with_(world.limits, B, world.seen))
            yield 'B has the limit of A', OWN, copied, ''
        if world.has_none() and not world.drained and (fenced or self._lacks('fence-first')):
            yield 'A is seen to have none of it', OWN, world._replace(drained=1), ''
        moved = not world.stage or self._lacks('stage-first')
        if world.drained and fenced and moved and world.hold == HELD and (world.copied or not self.config.writers):
            yield 'B opens', OWN, world._replace(hold=OPENED), ''
        over = not self.config.own or self._lacks('own-last') or fenced and not world.of(A)
        if over and world.hold == OPENED and world.map == MOVING and not world.copies:
            yield 'the map says that it is over', OWN, world._replace(map=SETTLED), ''

    def _carry(self, world: World) -> Iterator[Happens]:
        """Tasks whose first delay has not ended are taken out of A, kept there on a stage, and put into B."""
        for task in range(self.config.ids.bit_length()):
            bit = 1 << task
            if world.later[A] & bit and world.fence == MOVING:
                if self._lacks('stage'):
                    yield from self._copy(world, task)
                else:
                    later = with_(world.later, A, world.later[A] & ~bit)
                    yield f'{task} is taken out of A', OWN, world._replace(later=later, stage=world.stage | bit), ''
            if world.stage & bit and not world.carried & bit:
                yield f'{task} is read from the stage', OWN, world._replace(carried=world.carried | bit), ''
            if world.carried & bit and not self._lacks('stage'):
                yield f'{task} is put into B', OWN, self._put(world, task), ''
            if world.stage & world.put & bit:
                yield f'{task} is struck from the stage', OWN, world._replace(stage=world.stage & ~bit), ''
            if world.copies & bit and not world.later[A] & bit:
                yield from self._copied(world, task)

    def _put(self, world: World, task: int) -> World:
        """Into B; this may be done again, by others, or by one that stood still."""
        bit = 1 << task
        late = world.hold == OPENED and not world.died & bit and not self._lacks('put-held')
        world = world._replace(put=world.put | bit)
        if late or world.of(B) & bit:
            return world
        if world.died & bit:
            return world._replace(pending=with_(world.pending, B, (*world.pending[B], task)))
        return world._replace(later=with_(world.later, B, world.later[B] | bit))

    def _copy(self, world: World, task: int) -> Iterator[Happens]:
        """Without the stage: into B by its id first, then cancelled in A if its delay has not ended."""
        bit = 1 << task
        if not world.of(B) & bit and world.hold == HELD:
            copied = world._replace(later=with_(world.later, B, world.later[B] | bit), copies=world.copies | bit)
            yield f'{task} is copied to B', OWN, copied, ''
        elif world.copies & bit:
            later = with_(world.later, A, world.later[A] & ~bit)
            yield f'{task} is cancelled in A', OWN, world._replace(later=later, copies=world.copies & ~bit), ''

    def _copied(self, world: World, task: int) -> Iterator[Happens]:
        """Its delay has ended in A: the copy is removed, as long as A tells what has become of it."""
        bit = 1 << task
        gone = world._replace(copies=world.copies & ~bit)
        if world.of(A) & bit:
            pending = with_(world.pending, B, tuple(other for other in world.pending[B] if other != task))
            later = with_(world.later, B, world.later[B] & ~bit)
            yield f'the copy of {task} is cancelled', OWN, gone._replace(pending=pending, later=later), ''
        else:
            yield f'A knows nothing of {task}', OWN, gone, ''

    def _redrive(self, world: World) -> Iterator[Happens]:
        """Whoever knows the old map asks A; others have it taken out of A, as tasks with a delay are."""
        for task in range(self.config.ids.bit_length()):
            bit = 1 << task
            if not world.dead & bit:
                continue
            in_a = world._replace(
                dead=world.dead & ~bit, pending=with_(world.pending, A, (*world.pending[A], task))
            )
            if world.fence == OLD or self._lacks('redrive-fence'):
                yield f'{task} is redriven in A', OWN, in_a, ''
            if world.map > OLD and self._lacks('redrive-moves'):
                yield f'{task} is redriven in A', OWN, in_a, ''
            elif world.map > OLD and world.fence == OLD and not self._lacks('redrive-after'):
                yield 'whoever redrives raises the fence of A', OWN, world._replace(fence=MOVING), ''
            elif world.map > OLD:
                staged = world._replace(dead=world.dead & ~bit, stage=world.stage | bit)
                yield f'{task} is redriven: taken out of A', OWN, staged, ''

"""All that may happen in a model of the queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from proof.spec.checks import (
    ANSWERED,
    CLAIM,
    HISTORY,
    NAMES,
    NONE,
    PAUSES,
    RESENT,
    SENT,
    TWICE,
    Budget,
    Consumer,
    Producer,
    broken,
    noted,
    stuck,
)
from proof.spec.clients import FRESH, Consumers
from proof.spec.explorer import CHOICE, FAULT, OWN, TIME, State, Step
from proof.spec.keys import CANCELLED, OK, REPLIES, UNKNOWN, WORKING, Frozen, bits

_HELD, _GOT, _OTHERS = (Consumer._fields.index(name) for name in ('held', 'got', 'others'))
_ENDS = Budget._fields.index('ends')
# Where they are in a frozen server.
_WORKING, _DELAYED, _DEAD, _PAYLOADS, _BELL, _RATED = 7, 9, 11, 12, 13, 24


class Spec(Consumers):
    """The queue, for `explorer.explore`."""

    def initial(self) -> Iterable[State]:
        """An empty queue."""
        config = self.config
        empty = self._new_server()
        producers = tuple(tuple(Producer()) for _ in self.tasks)
        return [(empty.freeze(), producers, (tuple(FRESH),) * config.consumers, (), tuple(config.budget))]

    def steps(self, state: State) -> Iterator[Step]:
        """What may happen next."""
        budget = Budget(*state[4])
        if not (budget.losses or budget.kills or budget.quits):
            for k, packed in enumerate(state[2]):
                consumer = Consumer(*packed)
                if consumer.claim == ANSWERED and not consumer.listening:
                    # Nobody else can tell when it learns of it, and nothing can come between.
                    yield self._learn(state, k, consumer)
                    return
        yield from self._produce(state)
        seen: Consumer | None = None
        for k, packed in enumerate(state[2]):
            consumer = Consumer(*packed)
            # Of consumers that are alike, one may be looked at for all.
            if consumer != seen:
                yield from self._consume(state, k, consumer)
                if budget.kills and consumer != FRESH:
                    yield self._kill(state, k, consumer)
            seen = consumer
        for k, packed in enumerate(state[3]):
            yield from self._haunt(state, k, Consumer(*packed))
        yield from self._pass_time(state)
        yield from self._operate(state)

    # Producers

    def _produce(self, state: State) -> Iterator[Step]:
        budget = Budget(*state[4])
        fresh = set()
        for task in self.tasks:
            producer = Producer(*state[1][task])
            group = self.config.groups[task], self.config.delayed >> task & 1, self.server.urgencies[task]
            if producer.call == NONE and group not in fresh:
                # Those that were not sent are alike.
                fresh.add(group)
                if budget.losses:
                    yield f'enqueue {task}', CHOICE, self._with_producer(state, task, producer._replace(call=SENT)), ''
                else:
                    yield self._enqueue(state, task, producer, 0, False, 'is answered', CHOICE)
            elif producer.call in (SENT, RESENT):
                resent = producer.call == RESENT
                yield self._enqueue(state, task, producer, producer.generation, resent, 'is answered', OWN)
                if budget.losses:
                    spent = (*state[:4], self._spend(state, 'losses'))
                    yield self._enqueue(spent, task, producer, producer.generation, resent, 'loses its reply', FAULT)
                    late = tuple(sorted((*producer.late, producer.generation)))
                    after = self._with_producer(spent, task, producer._replace(call=RESENT, late=late))
                    yield f'enqueue {task} is given up on the way and sent again', FAULT, after, ''
            elif producer.call == ANSWERED and budget.anew and state[0][0][task] == CANCELLED:
                after = (*state[:4], self._spend(state, 'anew'))
                again = producer._replace(call=SENT, generation=producer.generation + 1, ran=0)
                yield f'enqueue {task} anew', CHOICE, self._with_producer(after, task, again), ''
            for generation in dict.fromkeys(producer.late):
                yield self._enqueue(state, task, producer, generation, False, 'comes late', TIME)

    def _with_producer(self, state: State, task: int, producer: Producer) -> State:
        producers = (*state[1][:task], tuple(producer), *state[1][task + 1 :])
        return (state[0], producers, *state[2:])

    def _enqueue(
        self, state: State, task: int, producer: Producer, generation: int, resent: bool, how: str, kind: int
    ) -> Step:
        server = self._server(state)
        before, was = state[0], server.states[task]
        final = server.final >> task & 1
        full = self._is_full(state)
        mark = 1 << 16 + generation if self.config.own else 0
        first = generation == producer.generation and not producer.ran and producer.call != ANSWERED
        outcome = OK if full else server.enqueue(task, mark, resent, bool(self.config.delayed >> task & 1))
        after, broken = server.freeze(), ''
        # The known limit: what was finished and forgotten is enqueued again, and by an original what was cancelled.
        forgotten = was == UNKNOWN or kind == TIME and final
        if not first and (kind != TIME and outcome != OK or not forgotten and after[:-2] != before[:-2]):
            broken = TWICE
        if kind == TIME:
            late = list(producer.late)
            late.remove(generation)
            producer = producer._replace(late=tuple(late))
            if first and not full:
                producer = producer._replace(ran=1)
        elif kind == FAULT:
            producer = producer._replace(call=RESENT, ran=producer.ran or int(not full))
        else:
            # One that was refused is not acknowledged, and nobody's any more.
            told = full and self.removed != 'refusal-told'
            producer = producer._replace(call=ANSWERED, ran=int(outcome == OK and not told))
        after_all = self._with_producer((after, *state[1:]), task, producer)
        answer = 'no memory' if full else REPLIES[outcome]
        return f'enqueue {task}{" again" * resent} {how}: {answer}', kind, after_all, broken

    def _pass_time(self, state: State) -> Iterator[Step]:
        if self.config.rates or self.config.pausing:
            yield from self._pass_by(state)
        if not (state[0][_WORKING] or state[0][_DELAYED] or state[0][_RATED]):
            return
        server = self._server(state)
        full = self._is_full(state)
        sweepable = server.over() | server.due & server.delayed | server.thirsty()
        before = state[0]
        for task in bits(server.working & ~server.ended):
            delivery = task, server.tokens[task]
            alive = any(delivery == one[_HELD] or delivery in one[_GOT] + one[_OTHERS] for one in state[2])
            if state[4][_ENDS] or not alive:
                budget = self._spend(state, 'ends') if alive else state[4]
                server.ended |= 1 << task
                server.out &= ~(1 << task)
                yield f'the lease of {task} ends', CHOICE if alive else TIME, (server.freeze(), *state[1:4], budget), ''
                server.thaw(before)
        for task in bits(server.delayed & ~server.due):
            server.due |= 1 << task
            yield f'the delay of {task} is over', TIME, (server.freeze(), *state[1:]), ''
            server.thaw(before)
        if sweepable and not self.config.bell and not (full and self.removed == 'removed-first'):
            failing = [task for task in bits(server.over()) if server.states[task] == WORKING]
            server.sweep()
            broken = '' if all(noted(server, task, server.tokens[task]) for task in failing) else HISTORY
            yield 'somebody sweeps', TIME, (server.freeze(), *state[1:]), broken

    def _pass_by(self, state: State) -> Iterator[Step]:
        """Tokens and probes come, and whoever has paused something ends that at last."""
        server, before = self._server(state), state[0]
        for name, members in (('dry', server.dry), ('opened', server.paused & server.probes & ~server.opened)):
            for k in bits(members):
                setattr(server, name, getattr(server, name) ^ 1 << k)
                what = 'a token of' if name == 'dry' else 'a probe of'
                yield f'{what} {k} comes', TIME, (server.freeze(), *state[1:]), ''
                server.thaw(before)
        for k in bits(server.paused):
            server.resume(1 << k, False)
            yield f'{k} is resumed', TIME, (server.freeze(), *state[1:]), ''
            server.thaw(before)

    def _pause(self, state: State) -> Iterator[Step]:
        server, before = self._server(state), state[0]
        spent = self._spend(state, 'pauses')
        for which, probing in self.config.pausing:
            place = server.queue if which < 0 else 1 << which
            firm = bool(server.paused & ~server.probes & place)
            server.pause(place, probing)
            lost = firm and probing and not server.paused & ~server.probes & place
            what = f'{"the queue" if which < 0 else which} is paused{" with probes" * probing}'
            yield what, CHOICE, (server.freeze(), *state[1:4], spent), PAUSES if lost else ''
            server.thaw(before)
            if probing and server.paused & place:
                done = server.resume(place, True)
                what = f'whoever has probed ends a pause of {"the queue" if which < 0 else which}'
                yield what, CHOICE, (server.freeze(), *state[1:4], spent), PAUSES if firm and done else ''
                server.thaw(before)

    def _operate(self, state: State) -> Iterator[Step]:
        budget = Budget(*state[4])
        if budget.memory:
            yield 'the memory is full', FAULT, (*state[:4], self._spend(state, 'memory')), ''
        if budget.pauses:
            yield from self._pause(state)
        if not (budget.cancels or budget.limits):
            return
        server = self._server(state)
        before = state[0]
        for task in self.tasks if budget.cancels else ():
            if server.cancel(task):
                yield f'cancel {task}', CHOICE, (server.freeze(), *state[1:4], self._spend(state, 'cancels')), ''
                server.thaw(before)
        for group in range(len(server.limits)) if budget.limits else ():
            if server.limits[group] != self.config.new_limit:
                server.limit(group, self.config.new_limit)
                after = (server.freeze(), *state[1:4], self._spend(state, 'limits'))
                yield f'limit {group} is {self.config.new_limit}', CHOICE, after, ''
                server.thaw(before)

    # The dead

    def _kill(self, state: State, k: int, consumer: Consumer) -> Step:
        late = list(consumer.late)
        if consumer.claim in (SENT, RESENT):
            late.append((CLAIM, consumer.key, consumer.claim_ack))
        if consumer.verb:
            late.append((consumer.verb, *consumer.held, consumer.ack))
        # A record that no call names is as good as gone.
        keys = {call[1] for call in late if call[0] == CLAIM}
        records = tuple(record for record in consumer.records if record[0] in keys)
        ghost = Consumer(late=tuple(sorted(late)), records=records, listening=consumer.listening)
        ghosts = state[3] if ghost == FRESH else tuple(sorted((*state[3], tuple(ghost))))
        after = self._with((*state[:3], ghosts, self._spend(state, 'kills')), k, FRESH)
        return f'{k} is killed, and another begins', FAULT, after, ''

    def _haunt(self, state: State, k: int, ghost: Consumer) -> Iterator[Step]:
        """What a dead consumer still has on its way."""
        for number, late in enumerate(ghost.late):
            server = self._server(state)
            rest = ghost._replace(late=ghost.late[:number] + ghost.late[number + 1 :])
            after, broken = self._run_late(late, server, rest)
            label = f"a dead one's {NAMES.get(late[0], 'claim')}{late[1:]} is run"
            yield label, TIME, self._with_ghost(state, k, after, server.freeze()), broken
        if ghost.listening and state[0][_BELL]:
            server = self._server(state)
            server.bell = 0
            after = ghost._replace(listening=0)
            yield 'a dead one hears the bell', TIME, self._with_ghost(state, k, after, server.freeze()), ''

    def _with_ghost(self, state: State, k: int, ghost: Consumer, server: Frozen) -> State:
        rest = (*state[3][:k], *state[3][k + 1 :])
        ghost = ghost if any(call[0] == CLAIM for call in ghost.late) else ghost._replace(records=())
        ghosts = rest if ghost == FRESH else tuple(sorted((*rest, tuple(ghost))))
        return (server, state[1], state[2], ghosts, state[4])

    # What must hold

    def broken(self, state: State) -> str:
        """The invariant that a state breaks, or ''."""
        return broken(self.config, self._server(state), state[1])

    def stuck(self, state: State) -> str:
        """Who waits for what, where nothing happens by itself."""
        return stuck(self.config, self._server(state), [Consumer(*packed) for packed in state[2]])

    def good(self, state: State) -> bool:
        """Whether all is done, or dead."""
        return state[0][_PAYLOADS] == state[0][_DEAD] and all(call in (NONE, ANSWERED) for call, *_ in state[1])

"""Growing the number of shards that groups and own ids are in: shard A gives half of them to shard B, which is new.

    python -m proof.growth            # all configurations, then each rule left out
    python -m proof.growth --remove hold

What is moved is a group of one task at a time, whose producers want their order, or an id of a caller's own.  How it
moves, each step being one call that may be repeated:

1. B holds: it takes tasks in, and hands none of a group out.  It may be opened, and is not held again.
2. The map is written: who reads it sends to B from now on.  Others read it late.
3. A is fenced: it refuses those who go by the old map, enqueues, redrives and limits alike.  Whoever sends an own id
   fences A before, too, and asks A for the id before B gets it.
4. Limits and pauses are copied to B, after the fence; until then nobody sets them in B.
5. Tasks whose first delay has not ended are taken out of A by one call, which keeps them on a stage in A; then they are
   put into B, which takes such ones only while it holds; then they are struck from the stage.
6. When A, after the fence, has none of the group, and the stage is empty, B is opened.
7. When A has none of the own ids either, and does not know them as done, the map says that A need not be asked.

Dead tasks stay in A; a redrive fences A, takes them out and puts them into B, by way of the same stage.  A call that
is sent again tells the generation of its first sending.  A task is settled in the shard that handed it out.

What is left out, or rougher: one group and one id; limits are a number that was set last; no rates; cancelling; the
loss of replies but for those of enqueues, because all else has no memory between two calls and may be done again at any
time; how long something takes.  A producer that is refused by A sends to B as one that may have been sent before.  A
redriven task that was put into B, done, and forgotten there, while whoever redrove it stood still before striking it
from the stage, would be done again: that takes as long as B keeps what became of it, and is not in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import NamedTuple

from proof.growth.steps import Growth
from proof.growth.world import (
    DUPLICATE,
    HOLDER,
    KEPT,
    LIMITS,
    ONE_PLACE,
    ORDER,
    OVERLAP,
    REACH,
    Budget,
    Config,
)
from proof.spec.explorer import Result, explore

GROUP = Config(budget=Budget(ends=2))
SMALL = Config(tasks=((0, 1),), budget=Budget(ends=1))
LOST = Config(tasks=((0, 1), (2,)), budget=Budget(ends=1, losses=1))
DELAYED = Config(tasks=((0, 1),), delayed=1, budget=Budget(ends=1, forgets=1))
DEAD = Config(tasks=((0, 1),), budget=Budget(ends=1, deaths=1))
OWN_IDS = Config(tasks=((0,), (0,)), own=True, budget=Budget(losses=1))
SET = Config(tasks=((0,),), writers=2)

CONFIGS = {
    'two producers of two tasks': GROUP,
    'lost replies, late calls': LOST,
    'two lost replies': dataclasses.replace(SMALL, budget=Budget(losses=2)),
    'a first delay': DELAYED,
    'a first delay, a lost reply': dataclasses.replace(DELAYED, budget=Budget(losses=1, ends=1)),
    'two first delays, what is forgotten': dataclasses.replace(DELAYED, delayed=3, budget=Budget(forgets=2)),
    'a dead task': DEAD,
    'a dead task, lost replies': dataclasses.replace(DEAD, budget=Budget(losses=1, deaths=1)),
    'an own id, by two': OWN_IDS,
    'an own id, by three': dataclasses.replace(OWN_IDS, tasks=((0,), (0,), (0,)), budget=Budget()),
    'a limit, by two': SET,
    'a limit, by three': dataclasses.replace(SET, tasks=((0, 1),), writers=3),
}


class Rule(NamedTuple):
    """A rule of the protocol."""

    says: str
    breaks: str
    """The invariant that is found broken without it."""
    config: Config


RULES = {
    'hold': Rule('B hands out nothing until A has none of it', ORDER, GROUP),
    'fence': Rule('A refuses who goes by the old map', ORDER, GROUP),
    'fence-first': Rule('A is looked at after it was fenced', ORDER, GROUP),
    'fence-resent': Rule('a call that is sent again looks for its task before the fence', ONE_PLACE, LOST),
    'resent-same': Rule('a call that is sent again tells the generation of its first sending', ORDER, LOST),
    'settle-place': Rule('a task is settled where it was handed out', HOLDER, SMALL),
    'stage': Rule('a task with a first delay is taken out of A before B has it', ONE_PLACE, DELAYED),
    'stage-first': Rule('B is opened when the stage is empty', KEPT, DELAYED),
    'put-held': Rule('B takes such a task only while it holds', ONE_PLACE, DELAYED),
    'redrive-fence': Rule('a redrive by the old map is refused', OVERLAP, DEAD),
    'redrive-moves': Rule('a redrive puts the task into B', OVERLAP, DEAD),
    'redrive-after': Rule(
        'A is fenced before it is taken out', ONE_PLACE,
        dataclasses.replace(DEAD, budget=Budget(losses=1, deaths=1)),
    ),
    'own-ask': Rule('A is asked for an own id', DUPLICATE, OWN_IDS),
    'own-fence': Rule('A is fenced before it is asked', DUPLICATE, OWN_IDS),
    'own-last': Rule('A is asked until it has no own id, and knows of none', DUPLICATE, OWN_IDS),
    'limits-fence': Rule('a limit by the old map is refused', LIMITS, SET),
    'limits-after': Rule('limits are read after the fence', LIMITS, SET),
    'limits-wait': Rule('nobody sets them in B before they are copied', LIMITS, SET),
}

assert {rule.breaks for rule in RULES.values()} <= {
    DUPLICATE, HOLDER, KEPT, LIMITS, ONE_PLACE, ORDER, OVERLAP, REACH
}  # fmt: skip


def look(config: Config) -> Result:
    """Go through all states."""
    return explore(Growth(config), reach=REACH)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='proof.growth', description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--remove', choices=RULES, help='leave a rule out, and tell the shortest way to what it breaks')
    options = parser.parse_args(argv)
    if options.remove:
        result = look(dataclasses.replace(RULES[options.remove].config, removed=options.remove))
        print(result.found)
        return int(result.found is not None)
    states = faults = 0
    for name, config in CONFIGS.items():
        result = look(config)
        states += result.states
        faults += result.found is not None
        print(f'{name}: {result.states:,} states, {result.found or "nothing found"}', flush=True)
    missed = 0
    for name, rule in RULES.items():
        result = look(dataclasses.replace(rule.config, removed=name))
        found = result.found.name if result.found else 'nothing'
        missed += found != rule.breaks
        print(f'{name}, without which it is not so that {rule.says}: {found}', flush=True)
    print(json.dumps({'states': states, 'faults_found': faults, 'rules': len(RULES), 'missed': missed}))
    return int(faults + missed > 0)

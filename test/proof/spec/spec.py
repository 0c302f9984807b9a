"""The queue as a model of which every interleaving can be seen: consumers, producers, scripts, calls, bell and faults.

What is as it is in the queue: each script is one step of the server and does what the script does to the places, the
payloads, the records, the groups and the bell (`keys`, `server`).  A call is sent, run and answered, and
other steps come in between; the connection may die before the call is run, which leaves an original on the way that may
be run at any later time or never, or after it, which loses the reply; the client then sends the call again and says
so.  A consumer claims with a numbered record, which the next call deletes once the reply has come; it waits at the
bell, keeps the time, sweeps, leaves, and comes again with a claim or without, as in `torrelque/aio/shelf.py`
(`clients`).  That the model's scripts do what the real ones do is shown on real servers, step by step (`walk`); of the
clients nothing shows it but reading.

What is left out, or rougher:

- Time.  A lease or a delay has ended or not, and may end at any moment.  With the bell, all leases are shorter than one
  block, so every deadline is near.  A record or a cancelled state lives as long as the run.
- A process is one shelf with one waiter, which wants one task or takes several at once: no sharing of a claim among
  waiters.  It settles them one after the other.
- Calls of one connection are not in order, and each is lost by itself: there are more interleavings than there can be.
- The calls on which a reply may be lost are enqueue, claim and the settle calls; a sweep, a `leave` and the deletion of
  a record are run or not yet run.  An operator's calls (cancel, limit) and a touch are one step.
- A rate is a bucket of one token, which may come at any moment after it was taken, and so may a probe.  Whoever has
  paused something ends that at some time.
- No `max_attempts`, `max_tasks`, redrive, results; payloads are there or not.  Damage to keys,
a server that forgets what
  it acknowledged, and a clock that goes back are not in it.

What cannot be told apart is one state: consumers by their number, tasks that nobody has sent yet.  What is bounded, for
each run, is how often each kind of fault and choice happens (`Budget`), and only that.

    python -m proof.spec --consumers 3 --tasks 3 --resend
    python -m proof.spec --consumers 3 --tasks 3 --resend --groups
    python -m proof.spec --priorities 1,0,-1 --ends 1
    python -m proof.spec --groups --rates 1 --pauses 2 --pausing queue,0+
    python -m proof.spec --rules
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
from typing import NamedTuple

from proof.spec.checks import (
    FENCING,
    FINAL,
    GROUPS,
    HISTORY,
    KEPT,
    NOTHING,
    ONE_PLACE,
    OVERLAP,
    PAUSES,
    PAYLOAD,
    RATES,
    REACH,
    STRANDED,
    TWICE,
    URGENCY,
    WAKE,
    Budget,
    Config,
)
from proof.spec.explorer import Result, explore
from proof.spec.steps import Spec

ALL = ('release', 'requeue', 'delay', 'bury')
ONE = Config(groups=(-1,))
ALONE = Config(groups=(-1,), consumers=1)
BELL = Config(groups=(-1,), bell=True)
GROUP = Config(groups=(0, 0), limits=(1,))
WIDE = Config(groups=(0, 0), limits=(2,))
RATED = Config(groups=(0, 0), limits=(2,), rates=1)
HALT, PROBES = ((-1, False),), ((-1, True),)


class Rule(NamedTuple):
    """A rule of the design."""

    says: str
    breaks: str
    """The invariant that is found broken without it."""
    config: Config
    """A small queue in which that is seen."""


def _given(config: Config, budget: Budget = NOTHING, **changes: object) -> Config:
    return dataclasses.replace(config, budget=budget, **changes)  # type: ignore[arg-type]


RULES = {
    # Who may settle
    'attempt': Rule('a settle call is compared with the attempt', FENCING, _given(ONE, Budget(ends=1))),
    'token-time': Rule(
        'the time of the claim is compared too', FENCING, _given(ONE, Budget(cancels=1, anew=1, ends=1), own=True)
    ),
    'sweep-clears': Rule('a sweep clears a cancelled task away', FINAL, _given(ONE, Budget(cancels=1, ends=1))),
    # What is sent twice
    'record': Rule('a claim leaves a record', TWICE, _given(ALONE, Budget(losses=1))),
    'late-claim': Rule('a claim that is no repetition looks at it too', TWICE, _given(ALONE, Budget(losses=1))),
    'record-acknowledged': Rule(
        'a record is deleted only when the reply has come', TWICE, _given(ALONE, Budget(losses=1), groups=(-1, -1))
    ),
    'record-own-key': Rule(
        'each claim has a record of its own', TWICE, _given(ALONE, Budget(losses=2), groups=(-1, -1))
    ),
    'release-resent': Rule('a repeated release of what is gone is done', TWICE, _given(ALONE, Budget(losses=1))),
    'release-unsure': Rule(
        'unless its lease was over', FENCING, _given(ONE, Budget(losses=1, ends=1))
    ),
    'requeue-mark': Rule('a requeue leaves its mark', TWICE, _given(ALONE, Budget(losses=1, returns=1))),
    'enqueue-mark': Rule('so does an enqueue with an own id', TWICE, _given(ALONE, Budget(losses=1), own=True)),
    'enqueue-resent': Rule('a repeated enqueue looks for its id', TWICE, _given(ALONE, Budget(losses=1, cancels=1))),
    'enqueue-late': Rule('an enqueue looks whether its id has a payload', TWICE, _given(ALONE, Budget(losses=1))),
    # Failed attempts
    'history-mark': Rule(
        'a call that is sent twice notes a failure once', FENCING,
        _given(ALONE, Budget(losses=1, returns=1), history=True),
    ),
    'history-settled': Rule(
        'who gives a task back with an error has it noted', HISTORY, _given(ALONE, Budget(returns=1), history=True)
    ),
    'history-swept': Rule("so does a lease's end", HISTORY, _given(ONE, Budget(ends=1), history=True)),
    # Places
    'lease-lasts': Rule('a sweep brings back only what has ended', OVERLAP, _given(ONE)),
    'refusal-told': Rule('an enqueue that is refused is told', KEPT, _given(ALONE, Budget(memory=1))),
    'give-back': Rule('what was claimed for nobody is given back', STRANDED, _given(ALONE, Budget(quits=1))),
    'removed-first': Rule(
        'the first write frees, so that it passes without memory', REACH, _given(ALONE, Budget(memory=1, kills=1))
    ),
    'forget': Rule('who removes the last task forgets the queue', PAYLOAD, _given(BELL, consumers=1)),
    'holes': Rule(
        'a claim skips what is not pending', PAYLOAD, _given(ALONE, Budget(cancels=1), groups=(-1, -1), long=True)
    ),
    'hole-refilled': Rule(
        'an id takes its hole again', ONE_PLACE,
        _given(ALONE, Budget(cancels=1, anew=1), groups=(-1, -1), long=True, own=True),
    ),
    # Groups
    'slot-freed-settled': Rule('a settle call gives the slot back', PAYLOAD, _given(GROUP)),
    'slot-freed-swept': Rule("so does a lease's end", GROUPS, _given(GROUP, Budget(ends=1))),
    'slot-freed-cancelled': Rule('so does the cancelling of a head', PAYLOAD, _given(WIDE, Budget(cancels=1))),
    'slot-kept': Rule(
        'a delay for a retry keeps it', GROUPS, _given(GROUP, Budget(returns=1), verbs=('release', 'delay'))
    ),
    'advance': Rule('the next of a group comes up', GROUPS, _given(GROUP)),
    'limit-at-claim': Rule('a claim looks at the limit again', GROUPS, _given(WIDE, Budget(limits=1))),
    'order-at-claim': Rule('a claim looks who is first by now', GROUPS, _given(WIDE, Budget(returns=1))),
    # Priorities
    'priority-first': Rule(
        'a priority above 0 goes first', URGENCY, _given(ALONE, groups=(-1, -1), urgencies=(1, 0))
    ),
    'priority-last': Rule('one below 0 goes last', URGENCY, _given(ALONE, groups=(-1, -1), urgencies=(0, -1))),
    'priority-order': Rule('the highest goes first', URGENCY, _given(ALONE, groups=(-1, -1), urgencies=(2, 1))),
    'priority-cancelled': Rule(
        'a cancelled task leaves its place', ONE_PLACE, _given(ALONE, Budget(cancels=1), urgencies=(1,))
    ),
    'ring-ranked': Rule('an enqueue with a priority rings', WAKE, _given(BELL, urgencies=(1,))),
    # Rates
    'token-taken': Rule('a hand-out takes a token', RATES, _given(RATED)),
    'token-waited': Rule('a group that has none waits for one', GROUPS, _given(RATED)),
    'token-swept': Rule('a sweep lets it go on when that has come', REACH, _given(RATED)),
    'token-told': Rule('a claim tells when that is', WAKE, _given(RATED, bell=True, consumers=1)),
    'ring-token': Rule('who leaves a group without a token rings', WAKE, _given(GROUP, bell=True, rates=1)),
    # Pauses
    'pause-at-claim': Rule('a claim takes nothing of a paused queue', PAUSES, _given(ONE, Budget(pauses=1),
        pausing=HALT)),
    'pause-at-head': Rule(
        'a claim looks whether a group was paused', PAUSES,
        _given(ALONE, Budget(pauses=1), groups=(0,), limits=(1,), pausing=((0, False),)),
    ),
    'ring-resume': Rule('the end of a pause rings', WAKE, _given(BELL, Budget(pauses=1), pausing=HALT)),
    'resume-advances': Rule(
        'the next of a group comes up when its pause ends', GROUPS,
        _given(ALONE, Budget(pauses=1), groups=(0,), limits=(1,), pausing=((0, False),)),
    ),
    'probe-one': Rule(
        'a probe is one task', PAUSES, _given(ALONE, Budget(pauses=1), groups=(-1, -1), pausing=PROBES)
    ),
    'probe-told': Rule('a claim tells when the next may come', WAKE, _given(BELL, Budget(pauses=1), pausing=PROBES)),
    'pause-stays': Rule(
        'a pause with probes does not replace one without', PAUSES, _given(ALONE, Budget(pauses=2),
            pausing=HALT + PROBES)
    ),
    'resume-stays': Rule(
        'nor does it end that', PAUSES, _given(ALONE, Budget(pauses=2), pausing=HALT + PROBES)
    ),
    # Several at once
    'record-whole': Rule(
        'a record has all that a claim has given', TWICE, _given(ALONE, Budget(losses=1), groups=(-1, -1), bulk=2)
    ),
    'probe-alone': Rule(
        'a claim of several takes one probe', PAUSES, _given(ALONE, Budget(pauses=1), groups=(-1, -1), bulk=2,
            pausing=PROBES)
    ),
    'give-back-all': Rule(
        'all that was claimed for nobody is given back', STRANDED,
        _given(ALONE, Budget(quits=1), groups=(-1, -1), bulk=2),
    ),
    # The bell
    'ring-enqueue': Rule('an enqueue rings', WAKE, _given(BELL)),
    'ring-requeue': Rule('a requeue rings', WAKE, _given(BELL, Budget(returns=1))),
    'ring-sweep': Rule('a sweep rings', WAKE, _given(BELL, Budget(quits=1), delayed=1)),
    'ring-delay': Rule('a delay that is near rings', WAKE, _given(BELL, delayed=1)),
    'ring-head': Rule('a new head of a group rings', WAKE, _given(BELL, groups=(0,), limits=(1,))),
    'ring-left': Rule('a claim that leaves work rings', WAKE, _given(BELL, groups=(-1, -1))),
    'ring-time': Rule('a claim that leaves a deadline rings', WAKE, _given(BELL, Budget(ends=1))),
    'ring-leave': Rule('who has no use for a ring hands it on', WAKE, _given(BELL, Budget(quits=1))),
    'rang-meanwhile': Rule('who is rung while it claims, claims again', WAKE, _given(BELL, Budget(quits=1))),
    'sweep-due': Rule('a claim that finds something due sweeps', WAKE, _given(BELL, Budget(ends=1))),
    'timer': Rule('who waits keeps the time', WAKE, _given(BELL, Budget(ends=1))),
    'block': Rule('who has waited for a block claims again', WAKE, _given(BELL, Budget(kills=1), block=True)),
    'join-listens': Rule(
        'who comes to wait without a claim listens at the bell', WAKE, _given(BELL, groups=(-1, -1), still=True)
    ),
    'join-rung': Rule(
        'who was rung since the last claim comes with one', WAKE, _given(BELL, Budget(quits=1), still=True)
    ),
    'join-time': Rule(
        'who comes to wait without a claim keeps the time', WAKE, _given(BELL, Budget(quits=1, ends=1), still=True)
    ),
}

PAIR = Config()
ORDINARY = {
    'a lost reply, an ended lease': _given(PAIR, Budget(losses=1, ends=1)),
    'a lost reply, cancelling': _given(PAIR, Budget(losses=1, cancels=1)),
    'a lost reply, a return, giving up': _given(PAIR, Budget(losses=1, returns=1, quits=1)),
    'a lost reply, a kill': _given(PAIR, Budget(losses=1, kills=1)),
    'two lost replies': _given(ONE, Budget(losses=2, ends=1)),
    'every verb': _given(PAIR, Budget(ends=1, returns=1, cancels=1, touches=1), verbs=ALL),
    'failed attempts, a lost reply': _given(ONE, Budget(losses=1, ends=1, returns=1), verbs=ALL, history=True),
    'own ids, holes': _given(PAIR, Budget(losses=1, cancels=1, anew=1), own=True, long=True, verbs=('release',)),
    'a full memory': _given(PAIR, Budget(ends=1, returns=1, memory=1)),
    'a group of one at a time, lost replies': _given(GROUP, Budget(losses=1, ends=1)),
    'a group of one at a time, every verb': _given(GROUP, Budget(ends=1, returns=1, cancels=1), verbs=ALL),
    'a group of one at a time, a kill': _given(GROUP, Budget(returns=1, kills=1)),
    'a group whose limit is lowered': _given(WIDE, Budget(ends=1, returns=1, limits=1), verbs=ALL),
    'a group whose limit is raised': _given(GROUP, Budget(ends=1, returns=1, limits=1), verbs=ALL, new_limit=2),
    'a group, own ids, holes': _given(WIDE, Budget(ends=1, cancels=1, anew=1), own=True, long=True),
    'a group and a plain task': _given(PAIR, Budget(losses=1), groups=(0, -1), limits=(1,)),
    'priorities, every verb': _given(PAIR, Budget(ends=1, returns=1, cancels=1), urgencies=(1, -1), verbs=ALL),
    'priorities, a lost reply': _given(PAIR, Budget(losses=1), urgencies=(1, 0)),
    'priorities, a plain task, own ids, holes': _given(
        PAIR, Budget(ends=1, cancels=1, anew=1), urgencies=(0, -1), own=True, long=True
    ),
    'the bell, priorities': _given(PAIR, Budget(quits=1), urgencies=(1, -1), bell=True),
    'a rate, every verb': _given(RATED, Budget(ends=1, returns=1, cancels=1), verbs=ALL),
    'a rate, a lost reply': _given(RATED, Budget(losses=1)),
    'a rate, a limit that is lowered': _given(RATED, Budget(ends=1, returns=1, limits=1)),
    'the bell, a rate': _given(GROUP, bell=True, rates=1),
    'the bell, a rate, giving up': _given(ALONE, Budget(quits=1), groups=(0, 0), limits=(2,), rates=1, bell=True),
    'pauses': _given(PAIR, Budget(ends=1, returns=1, pauses=2), pausing=HALT + PROBES),
    'pauses, a lost reply': _given(ONE, Budget(losses=1, pauses=1), pausing=HALT + PROBES),
    'pauses of a group': _given(WIDE, Budget(ends=1, returns=1, pauses=2), pausing=((0, False), (0, True))),
    'probes of a group with a rate': _given(RATED, Budget(ends=1, pauses=2), pausing=((0, True), (-1, True))),
    'the bell, pauses': _given(BELL, Budget(pauses=2), pausing=HALT + PROBES),
    'the bell, probes': _given(ALONE, Budget(pauses=1, quits=1), groups=(-1, -1), bell=True, pausing=PROBES),
    'the bell, probes of a group': _given(
        BELL, Budget(pauses=1), groups=(0,), limits=(1,), pausing=((0, True), (0, False))
    ),
    'several at once, every verb': _given(PAIR, Budget(ends=1, returns=1, cancels=1), bulk=2, verbs=ALL),
    'several at once, a lost reply': _given(PAIR, Budget(losses=1), bulk=2),
    'several at once, a group': _given(WIDE, Budget(ends=1, returns=1), bulk=2),
    'several at once, a group and a plain task': _given(PAIR, Budget(ends=1, returns=1, cancels=1), groups=(0, -1),
        limits=(1,), bulk=2),
    'several at once, priorities, pauses': _given(PAIR, Budget(ends=1, pauses=1), urgencies=(1, -1), bulk=2,
        pausing=PROBES),
    'several at once, a rate': _given(RATED, Budget(ends=1, returns=1), bulk=2),
    'the bell, several at once, giving up': _given(BELL, Budget(quits=1, returns=1), bulk=2),
    'the bell, giving up': _given(PAIR, Budget(quits=1), bell=True),
    'the bell, an ended lease': _given(PAIR, Budget(ends=1), bell=True),
    'the bell, a return': _given(PAIR, Budget(returns=1), bell=True),
    'the bell, a delay': _given(PAIR, bell=True, delayed=2),
    'the bell, a group': _given(GROUP, Budget(returns=1), bell=True, verbs=('release', 'delay')),
    'the bell, one task, giving up': _given(BELL, Budget(quits=1, ends=1)),
    'the bell, coming without a claim, giving up': _given(PAIR, Budget(quits=1), bell=True, still=True),
    'the bell, coming without a claim, an ended lease': _given(PAIR, Budget(ends=1), bell=True, still=True),
    'the bell, coming without a claim, one task': _given(BELL, Budget(quits=1, ends=1, returns=1), still=True),
    'the bell, coming without a claim, a delay': _given(BELL, Budget(quits=2), still=True, delayed=1),
    'the bell, coming without a claim, a group': _given(GROUP, Budget(quits=1), bell=True, still=True),
    'the bell, coming without a claim, a kill': _given(BELL, Budget(kills=1, quits=1), still=True, block=True),
    'the bell, a kill': _given(PAIR, Budget(kills=1), bell=True, block=True),
    'the bell, a lost reply': _given(BELL, Budget(losses=1), block=True),
}
"""What is looked at in every run: two consumers and two tasks, or one where more goes wrong."""


def look(config: Config, states: int = 0, seconds: float = 0, progress: bool = False) -> Result:
    """Go through all states of a queue."""
    return explore(Spec(config), reach=REACH, states=states, seconds=seconds, progress=progress)


def _figures(result: Result) -> dict[str, object]:
    return {
        'states': result.states,
        'transitions': result.transitions,
        'depth': result.depth,
        'seconds': round(result.seconds, 1),
        'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        'complete': result.complete and result.found is None,
        'faults_found': int(result.found is not None),
    }


def _config(options: argparse.Namespace) -> Config:
    budget = Budget(*(getattr(options, name) for name in Budget._fields))
    if options.resend:
        budget = budget._replace(losses=max(1, budget.losses))
    groups = [-1] * options.tasks
    if options.groups is not None:
        names = [int(name) for name in options.groups.split(',')] if options.groups else [0] * options.tasks
        groups = (names * options.tasks)[: options.tasks]
    limits = (options.limit,) * (max(groups) + 1)
    urgencies = tuple(int(urgency) for urgency in options.priorities.split(',')) if options.priorities else ()
    words = options.pausing.split(',') if options.pauses else []
    places = [(word.removesuffix('+'), word.endswith('+')) for word in words]
    pausing = tuple((-1 if place == 'queue' else int(place), probing) for place, probing in places)
    return Config(
        consumers=options.consumers, groups=tuple(groups), limits=limits, new_limit=options.new_limit,
        verbs=tuple(options.verbs.split(',')), budget=budget, delayed=options.delayed, own=options.own,
        long=options.long, bell=options.bell, block=options.block, still=options.still, history=options.history,
        bulk=options.bulk, urgencies=(urgencies * options.tasks)[: options.tasks], rates=options.rates, pausing=pausing,
        removed=options.remove,
    )  # fmt: skip


def _check_rules(seconds: float) -> int:
    missed = transitions = 0
    for name, rule in RULES.items():
        result = look(dataclasses.replace(rule.config, removed=name), seconds=seconds)
        transitions += result.transitions
        found = result.found.name if result.found else 'nothing'
        sound = look(rule.config, seconds=seconds)
        missed += found != rule.breaks or sound.found is not None
        print(f'{name}, without which it is not so that {rule.says}: {found} after {result.states} states')
        if result.found:
            print(result.found)
    print(json.dumps({'rules': len(RULES), 'transitions': transitions, 'missed': missed, 'faults_found': missed}))
    return int(missed > 0)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description='Look at every interleaving of a small queue.')
    parser.add_argument('--consumers', type=int, default=2)
    parser.add_argument('--tasks', type=int, default=2)
    parser.add_argument('--groups', nargs='?', const='', help='group of each task, as 0,0,-1; all in one without value')
    parser.add_argument('--limit', type=int, default=1, help='of each group')
    parser.add_argument('--new-limit', type=int, default=1, help='what --limits changes it to')
    parser.add_argument('--verbs', default='release,requeue')
    parser.add_argument('--delayed', type=int, default=0, help='bits of the tasks that are enqueued with a delay')
    parser.add_argument('--priorities', default='', help='of each task, as 1,0,-1')
    parser.add_argument('--bulk', type=int, default=1, help='how many tasks a claim takes at the most')
    parser.add_argument('--rates', type=int, default=0, help='bits of the groups that have a rate')
    parser.add_argument('--pausing', default='queue,queue+',
        help='what --pauses pauses: queue, or a group; + is with probes')
    parser.add_argument('--resend', action='store_true', help='lose a reply, or a call on its way')
    for name in ('own', 'long', 'bell', 'block', 'still', 'history', 'progress'):
        parser.add_argument(f'--{name}', action='store_true')
    for name in Budget._fields:
        parser.add_argument(f'--{name}', type=int, default=0, help='how many')
    parser.add_argument('--remove', choices=sorted(RULES), default='', help='leave a rule out')
    parser.add_argument('--rules', action='store_true', help='leave each rule out, one after the other')
    parser.add_argument('--ordinary', action='store_true', help='what is looked at in every run')
    parser.add_argument('--states', type=int, default=0, help='at the most')
    parser.add_argument('--seconds', type=float, default=0, help='at the most')
    options = parser.parse_args()
    if options.rules:
        return _check_rules(options.seconds)
    configs = ORDINARY if options.ordinary else {'': _config(options)}
    found = states = transitions = 0
    for name, config in configs.items():
        result = look(config, options.states, options.seconds, options.progress)
        if result.found:
            print(result.found)
        found += result.found is not None
        states, transitions = states + result.states, transitions + result.transitions
        print(json.dumps({**({'name': name} if name else {}), **_figures(result)}), flush=True)
    if len(configs) > 1:
        print(json.dumps({'states': states, 'transitions': transitions, 'faults_found': found}))
    return int(found > 0)

"""The layers of the proof, each with its goal: what is run in full, part by part.

How long something takes is a guess at first, for a machine of two processors; the record knows better.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from proof.record.campaign import TEST, Campaign, Rows, Seeds, Steps, modules_of

PIECES = 92
"""Of flows: see `proof.flows --pieces`."""
PYTHONS = ('3.10', '3.11', '3.12', '3.13', '3.14')
SERVERS = {
    'valkey9': 'Valkey 9', 'redis6': 'Redis 6.2', 'valkey8': 'Valkey 8', 'redis8': 'Redis 8', 'redis7': 'Redis 7',
}  # fmt: skip
BOTH = ('valkey9', 'redis6')
CHAOS = ('tasks', 'handouts', 'by_workers', 'faults', 'unknown', 'damaged', 'losses', 'twice', 'slow', 'stolen')
STANDING = ('disturbances', 'acknowledged', 'confirmed', 'handed_out', 'lost', 'lost_confirmed', 'again', 'twice')

MODELS = {
    'each rule left out': '--rules',
    '2 consumers, 2 tasks, all configurations': '--ordinary',
    '3 consumers, 3 tasks, a lost reply': '--consumers 3 --tasks 3 --resend --ends 1',
    '3 consumers, 3 tasks of a group': '--consumers 3 --tasks 3 --resend --groups --ends 1',
    '3 consumers, 3 tasks, two of a group': '--consumers 3 --tasks 3 --resend --groups 0,0,1',
    '3 consumers, 3 tasks, the bell': '--consumers 3 --tasks 3 --bell --ends 1',
}


def names_of_mutants() -> Mapping[str, str]:
    from proof.mutants.mutants import MUTANTS

    return {mutant.name: '' for mutant in MUTANTS}


def names_of_calls() -> Mapping[str, str]:
    from proof.awaits.cases_of_flows import ALL

    return {case.name: '' for case in ALL}


def halves_of_targets() -> Mapping[str, str]:
    """Half an hour each, so that one fits into less than an hour."""
    try:
        targets = importlib.import_module('proof.fuzz.targets').TARGETS
    except ImportError:
        return {}
    halves = ('first', 'second')
    return {f'{name}, {half} half hour': f'{name} --minutes 30' for half in halves for name in targets}


def _models() -> Iterator[Campaign]:
    yield Rows(
        name='model', about='all interleavings of a small queue', command='proof.spec {row}', names=lambda: MODELS,
        counts=('states', 'transitions', 'rules'), each=900,
    )  # fmt: skip
    for kind in BOTH:
        yield Seeds(
            name=f'walk-{kind}', about=f'walks through the model beside the scripts, on {SERVERS[kind]}',
            command=f'proof.spec.walk --server {kind} --seed {{first}} --seeds {{count}} --until {{until}}',
            goals={'seeds': 1000}, counts=('steps',), each=0.5, kinds=(kind,),
        )  # fmt: skip
    yield Rows(
        name='growth', about='all interleavings of groups and ids that move to new shards', command='proof.growth',
        names=lambda: {'all configurations, each rule left out': ''}, counts=('states', 'rules', 'missed'), each=300,
    )  # fmt: skip
    for kind in BOTH:
        yield Seeds(
            name=f'growth-real-{kind}', about=f'groups and ids that move while tasks come and go, on {SERVERS[kind]}',
            command=f'{TEST} -k killed test/sharded/test_sharded_keyed_storm.py',
            environ={
                'TORRELQUE_TEST_SERVERS': kind, 'TORRELQUE_SEED': '{first}', 'TORRELQUE_STORMS': '{count}'
            },
            goals={'seeds': 100}, unit='storms', each=20, begin=2, kinds=(kind,), tests=True,
        )  # fmt: skip


def _random_calls() -> Iterator[Campaign]:
    for kind in SERVERS:
        yield Seeds(
            name=f'stateful-{kind}', about=f'random calls beside a model, on {SERVERS[kind]}, by RESP2 and by RESP3',
            command=f'{TEST} test/model/test_model.py',
            environ={'TORRELQUE_TEST_SERVERS': kind, 'TORRELQUE_SEED': '{first}', 'TORRELQUE_STEPS': '{count}'},
            goals={'steps': 1_000_000 if kind in BOTH else 100_000}, counts=('steps', 'steps_of_flows'),
            unit='steps', each=0.03, begin=1000, step=1000, kinds=(kind,), tests=True,
        )  # fmt: skip
    yield Steps(
        name='public', about='random calls through the public verbs, judged by their history',
        command='proof.public --server valkey9 --steps {count} --seed {first}', goals={'steps': 100_000},
        counts=('steps',), unit='steps', each=0.05, begin=1, kinds=('valkey9',),
    )  # fmt: skip
    for kind in BOTH:
        yield Seeds(
            name=f'reasons-{kind}', about=f'each reason that is told of a task is tried, on {SERVERS[kind]}',
            command=f'{TEST} test/operate/test_operate_why_proof.py',
            environ={'TORRELQUE_TEST_SERVERS': kind, 'TORRELQUE_SEED': '{first}', 'TORRELQUE_HISTORIES': '{count}'},
            goals={'seeds': 1000}, unit='histories', each=2, kinds=(kind,), tests=True,
        )  # fmt: skip
    for kind in BOTH:
        for name, about, module, piece in (
            ('storms', 'storms of random calls of flows', 'test_flows_storm', 50),
            ('storms-abroad', 'the same over two queues', 'test_flows_abroad_storm', 25),
        ):
            yield Seeds(
                name=f'{name}-{kind}', about=f'{about}, on {SERVERS[kind]}',
                command=f'{TEST} -k many test/core/{module}.py',
                environ={'TORRELQUE_TEST_SERVERS': kind, 'TORRELQUE_SEED': '{first}', 'TORRELQUE_STORMS': '{count}'},
                goals={'seeds': 2000}, unit='storms', each=1, begin=1000, step=piece, kinds=(kind,), tests=True,
            )  # fmt: skip
    yield Seeds(
        name='flows', about='every flow of a few tasks, with all that may go wrong',
        command='proof.flows --at-once 2 --begin {first} --pieces {count}', goals={'seeds': PIECES}, unit='pieces',
        counts=('flows', 'steps'), each=120, last=PIECES, kinds=('valkey9',),
    )  # fmt: skip


def _points() -> Iterator[Campaign]:
    for version in PYTHONS:
        yield Rows(
            name=f'awaits-py{version.replace(".", "")}', about=f'calls cancelled at each await, on Python {version}',
            command='proof.awaits --only {rows}', names=names_of_calls, each=15, most=40, python=version,
            counts=('calls', *(f'turns, {style}' for style in ('once', 'twice', 'timeout'))), kinds=('valkey9',),
        )  # fmt: skip
    for kind in BOTH:
        yield Rows(
            name=f'crash-stories-{kind}', about=f'processes killed and stopped at each command, on {SERVERS[kind]}',
            command=f'proof.crash --server {kind}', names=lambda: {'the stories that are written down': ''},
            counts=('points', 'stories'), each=300, kinds=(kind,),
        )  # fmt: skip
    yield Seeds(
        name='crashes', about='the same with stories that are drawn',
        command='proof.crash --server valkey9 --seed {first} --seeds {count}', goals={'seeds': 100}, unit='stories',
        counts=('points',), each=30, kinds=('valkey9',),
    )  # fmt: skip


def _storms() -> Iterator[Campaign]:
    seeds = '--server {mix} --first {first} --seeds {count} --until {until}'
    yield Seeds(
        name='chaos', about='faults of all kinds under load', command=f'proof.chaos --seconds 15 {seeds}',
        goals={'seeds': 1000, 'faults': 200_000, 'tasks': 5_000_000}, counts=CHAOS, each=30,
    )  # fmt: skip
    yield Seeds(
        name='chaos-workers', about='the same, where all who consume are workers',
        command=f'proof.chaos --seconds 15 --worker 1 {seeds}', goals={'seeds': 200}, counts=CHAOS, each=30,
    )  # fmt: skip
    yield Seeds(
        name='chaos-flows', about='flows through workers, with faults of all kinds',
        command=f'proof.chaos.flows --seconds 5 {seeds}', goals={'seeds': 500},
        counts=('flows', 'tasks', 'attempts', 'stalled'), each=20,
    )  # fmt: skip
    yield Seeds(
        name='chaos-apps', about='applications as they are run, with faults of all kinds',
        command=f'proof.chaos.apps --seconds 8 {seeds}', goals={'seeds': 500},
        counts=('tasks', 'attempts', 'joins', 'firings', 'faults'), each=45,
    )  # fmt: skip
    yield Seeds(
        name='proxied', about='consumers behind connections that are cut at any moment',
        command=f'proof.chaos.proxied --seconds 2 {seeds}', goals={'seeds': 500},
        counts=('tasks', 'handouts', 'lost'), each=6,
    )  # fmt: skip
    yield Rows(
        name='soak', about='faults of all kinds through workers, for an hour on one server',
        command='proof.chaos --soak 3600 --worker 1 --server {row}', names=lambda: dict.fromkeys(BOTH, ''),
        counts=('seeds', *CHAOS), each=3700, sure=1.03, kinds=BOTH,
    )  # fmt: skip


def _servers() -> Iterator[Campaign]:
    runs = '--seed {first} --runs {count} --until {until}'
    for fsync in ('always', 'everysec'):
        yield Seeds(
            name=f'restart-{fsync}', about=f'servers killed under load, with an append-only file, {fsync}',
            command=f'proof.servers.restart --fsync {fsync} --server {{mix}} --at-once 2 {runs}', goals={'seeds': 500},
            unit='runs', counts=STANDING, each=5,
        )  # fmt: skip
    yield Seeds(
        name='failover', about='the primary of a Sentinel set killed under load',
        command=f'proof.servers.failover --server valkey9,redis6 {runs}', goals={'seeds': 100}, unit='runs',
        counts=STANDING, each=20, kinds=BOTH,
    )  # fmt: skip
    yield Seeds(
        name='cluster', about='slots of a Cluster moved under load',
        command=f'proof.servers.cluster --server valkey9,redis6 {runs}', goals={'seeds': 50}, unit='runs',
        counts=STANDING, each=20, kinds=BOTH,
    )  # fmt: skip
    for name, about, each in (
        ('durability', 'what each setting of a server is worth', 120),
        ('due', 'a million tasks due at once', 300),
    ):
        yield Rows(
            name=name, about=about, command=f'proof.{"servers." * (name != "due")}{name} --server {{row}}',
            names=lambda: dict.fromkeys(BOTH, ''), counts=('tasks', 'scripts', 'over_10_ms'), each=each, kinds=BOTH,
        )  # fmt: skip
    yield Rows(
        name='shards', about='tests of queues with shards, all of them', command=f'{TEST} {{row}}',
        names=lambda: modules_of('sharded'), environ={'TORRELQUE_TEST_SERVERS': 'valkey9,redis6'}, each=120, kinds=BOTH,
    )  # fmt: skip


def _faults() -> Iterator[Campaign]:
    yield Rows(
        name='mutants', about='hand-made faults, each to be caught by the ordinary suite',
        command='proof.mutants --jobs 4 --only {rows}', names=names_of_mutants, each=5, most=200, mutants=True,
        kinds=('valkey9',),
    )  # fmt: skip
    yield Rows(
        name='fuzz', about='bytes sought by coverage for all that reads what others have written, an hour each',
        command='proof.fuzz {row}', modules=('atheris',), names=halves_of_targets, each=1830, sure=1.03,
        counts=('executions',),
    )  # fmt: skip


CAMPAIGNS: tuple[Campaign, ...] = (
    *_faults(), *_models(), *_random_calls(), *_points(), *_storms(), *_servers(),
)  # fmt: skip

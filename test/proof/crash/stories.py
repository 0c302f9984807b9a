"""The calls that a consumer makes until it is killed or stopped: some that are written down, and some by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

LEASE = 0.3
"""s, of the tasks that are to be taken over."""

Calls = list[tuple[str, dict[str, Any]]]


def stories(lease: float, long: float) -> dict[str, Calls]:
    """Calls of a consumer, all verbs among them."""
    short = {'task_timeout': lease}
    return {
        'plain': [
            ('enqueue', {'job': 1, **short}),
            ('enqueue', {'job': 2, 'task_id': 'own', **short}),
            ('enqueue', {'job': 3, 'task_timeout': long}),
            ('take', {'timeout': 1, 'most': 3}),
            ('touch', {'which': 0, 'progress': 1}),
            ('release', {'which': 0}),
            ('requeue', {'which': 0, 'error': 'no'}),
            ('take', {'timeout': 0.2, 'most': 1}),
            ('release', {'which': 1, 'result': 'yes', 'result_ttl': 60}),
            ('release', {'which': 0}),
        ],
        'bulk': [
            ('enqueue_many', {'jobs': [1, 2, 3], **short}),
            ('enqueue_many', {'jobs': [4, 5], 'task_timeout': long}),
            ('take', {'timeout': 1, 'most': 4}),
            ('touch', {'which': 3}),
            ('touch', {'which': 1}),
            ('release_many', {}),
            ('take', {'timeout': 0.1, 'most': 4}),
            ('release_many', {}),
        ],
        'returns': [
            ('enqueue', {'job': 1, 'max_attempts': 1, **short}),
            ('enqueue', {'job': 2, 'delay': 0.2, **short}),
            ('enqueue', {'job': 3, **short}),
            ('take', {'timeout': 1, 'most': 2}),
            ('requeue', {'which': 0}),
            ('requeue', {'which': 0, 'delay': 0.05, 'task_timeout': long}),
            ('take', {'timeout': 1, 'most': 1}),
            ('requeue', {'which': 0, 'forgive': True}),
            ('redrive', {}),
            ('take', {'timeout': 1, 'most': 3}),
            ('bury', {'which': 0}),
            ('release_many', {}),
            ('sweep', {}),
        ],
        'groups': [
            ('set_limit', {'group': 'g', 'concurrency': 1}),
            ('enqueue_many', {'jobs': [1, 2, 3], 'group': 'g', **short}),
            ('enqueue', {'job': 4, 'group': 'h', 'priority': 1, 'task_timeout': long}),
            ('enqueue', {'job': 5, 'group': 'g', 'priority': 1, **short}),
            ('take', {'timeout': 1, 'most': 4}),
            ('requeue', {'which': 1}),
            ('take', {'timeout': 1, 'most': 1}),
            ('requeue', {'which': 0, 'delay': 0.05}),
            ('take', {'timeout': 1, 'most': 1}),
            ('touch', {'which': 1}),
            ('release', {'which': 1}),
            ('take', {'timeout': 1, 'most': 1}),
            ('bury', {'which': 0}),
            ('set_limit', {'concurrency': 2}),
            ('release_many', {}),
        ],
        'operators': [
            ('enqueue', {'job': 1, **short}),
            ('enqueue', {'job': 2, 'group': 'g', **short}),
            ('enqueue', {'job': 3, 'delay': 0.1, **short}),
            ('pause', {}),
            ('cancel', {'job': 3}),
            ('resume', {}),
            ('take', {'timeout': 1, 'most': 2}),
            ('cancel', {'job': 2}),
            ('touch', {'which': 1}),
            ('release', {'which': 1}),
            ('pause', {'group': 'g'}),
            ('release', {'which': 0}),
            ('resume', {'group': 'g'}),
        ],
    }


def draw_story(seed: int, lease: float, long: float) -> Calls:
    """Calls of any kind, and what they are given, by a seed."""
    draw = random.Random(seed)
    jobs = iter(range(1, 1000))

    def options() -> dict[str, Any]:
        given: dict[str, Any] = {'task_timeout': draw.choice([lease, lease, long])}
        if draw.random() < 0.5:
            given['group'] = draw.choice('gh')
        if draw.random() < 0.3:
            given['priority'] = draw.choice([-1, 1])
        if draw.random() < 0.2:
            given['delay'] = draw.choice([0.01, 0.1])
        if draw.random() < 0.2:
            given['max_attempts'] = draw.choice([1, 2])
        return given

    makers: dict[str, Callable[[], dict[str, Any]]] = {
        'enqueue': lambda: {'job': next(jobs), **options()},
        'enqueue_many': lambda: {'jobs': [next(jobs) for _ in range(draw.randint(1, 4))], **options()},
        'take': lambda: {'timeout': draw.choice([0, 0.1, 0.2]), 'most': draw.randint(1, 4)},
        'touch': lambda: {'which': draw.randint(0, 9)},
        'release': lambda: {'which': draw.randint(0, 9), **draw.choice([{}, {'result': 1}])},
        'release_many': dict,
        'requeue': lambda: {
            'which': draw.randint(0, 9), **draw.choice([{}, {'delay': 0.05}, {'forgive': True}, {'error': 'no'}])
        },
        'bury': lambda: {'which': draw.randint(0, 9)},
        'redrive': dict,
        'cancel': lambda: {'job': draw.randint(1, 5)},
        'sweep': dict,
        'set_limit': lambda: {'group': draw.choice(['g', 'h', None]), 'concurrency': draw.choice([1, 2, None])},
        'pause': lambda: {'group': draw.choice(['g', 'h', None])},
        'resume': lambda: {'group': draw.choice(['g', 'h', None])},
    }  # fmt: skip
    weights = [4, 2, 6, 2, 3, 1, 3, 1, 1, 1, 1, 1, 0.5, 1]
    verbs = ['enqueue_many', 'take', *draw.choices([*makers], weights, k=10)]
    calls = [(verb, makers[verb]()) for verb in verbs]
    if ('pause', {'group': None}) in calls:
        calls.append(('resume', {'group': None}))
    return [*calls, ('take', {'timeout': 0.1, 'most': 2}), ('release_many', {})]

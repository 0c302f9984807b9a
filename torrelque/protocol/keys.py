"""The only place that spells a key, those of layers too.

All keys of a queue share one hash tag, so that a queue is one slot of a Cluster and its scripts are atomic there.
"""

from torrelque.error import TorrelqueTypeError, TorrelqueValueError

DECLARED = ('pending', 'never')
"""The keys that every script declares, in the order of its KEYS; it makes the names of the others from the first.

``never`` is never written: while its slot is half moved a Cluster refuses a call that declares a key which is not
there, and does so before the script runs.  Without it a script could fail in its middle, with no roll-back.
"""

FIXED = (
    'pending',
    'turns',
    'priority',
    'working',
    'delayed',
    'dead',
    'untold',
    'tasks',
    'groups',
    'heads',
    'limits',
    'rated',
    'paused',
    'probes',
    'seq',
    'bell',
    'holes',
    'later',
    'holders',
    'schedules',
    'waiting',
    'spread',
    'away',
    'outbox',
    'guests',
    'growth',
    'stage',
    'never',
)
"""Names of the keys of which a queue has one each."""

PREFIXES = ('task', 'group', 'rate', 'claim', 'schedule', 'times', 'needs', 'edges', 'done', 'gate', 'values', 'letter')
"""Names of keys that take an id, a group, a consumer, the name of a schedule or the id of a flow behind a colon."""

WORKERS = ('workers', 'worker', 'minute', 'hour', 'totals', 'sampled')
"""Names of the keys that hearts of `torrelque.worker` have beside those of the queue: ``worker`` takes the name of a
worker behind a colon, ``minute`` and ``hour`` the number of a minute and of an hour since 1970."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, float('inf'))
"""Upper bounds (s) of the buckets of run and wait times that records have."""

OPERATORS = ('acts',)
"""Names of the keys of `torrelque.operate`; ``acts`` also takes the number of an act behind a colon."""

CRON = ('declared', 'moved')
"""Names of the keys of `torrelque.cron`: which process of each app was the last to declare schedules, and how far (ms)
a clock of tests has moved them."""

MONITOR = ('alerts',)
"""Names of the keys of `torrelque.monitor`: ``alerts`` has the states of the rules of a queue."""

SHARDED = ('shards',)
"""Names of the keys of `torrelque.sharded`: ``shards`` says which shards a queue has, and in each of them which it is.
"""

REGISTRY = 'torrelque:queues'
"""The only key that is not of one queue: names of queues by the time (s) when they were last seen.  It is a sorted set,
and nothing is lost with it."""


def _tagged(queue: str) -> str:
    start = queue.find('{')
    if start != -1 and queue.find('}', start) > start + 1:
        return queue
    if '}' in queue:
        raise TorrelqueValueError(
            f'a queue name may have a whole hash tag or no closing brace: {queue!r} would end its tag too early'
        )
    return f'{{{queue}}}'


def make_keys(queue: str) -> dict[str, str]:
    """Full keys of a queue by their short names, those of layers too.

    The keys of `PREFIXES`, and ``worker``, ``minute`` and ``hour``, are to be followed by a colon and a name; ``acts``
    may be.

    A name that brings a hash tag of its own keeps it (``{shop}mail``), any other is made one (``{mail}``).
    """
    if not isinstance(queue, str):
        raise TorrelqueTypeError(f'a queue name must be a str, not {type(queue).__name__}')
    if not queue:
        raise TorrelqueValueError('a queue name must not be empty')
    try:
        queue.encode()
    except UnicodeEncodeError as exc:
        raise TorrelqueValueError(f'a queue name must be encodable as UTF-8: {queue!r}') from exc

    # A subclass of str may be formatted as something else, as a member of an enumeration is; so it is made plain.
    base = _tagged(str.__str__(queue))
    return {name: f'{base}:{name}' for name in FIXED + PREFIXES + WORKERS + OPERATORS + CRON + MONITOR + SHARDED}

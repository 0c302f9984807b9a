"""The codes of reasons, in the order in which they decide."""

CODES = (
    'unknown', 'broken', 'finished', 'working', 'orphaned', 'dead', 'cancelled', 'delayed', 'retry', 'overdue', 'draft',
    'stalled', 'waiting', 'dry', 'queue-paused', 'group-paused', 'at-limit', 'no-token', 'behind', 'no-worker',
    'not-known', 'all-busy', 'stuck',
)  # fmt: skip
"""What a reason can be, the decisive ones first."""

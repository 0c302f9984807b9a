"""The commands that only look."""

from .command import Command
from .stats import add_stats_arguments, stats

ASKING = (
    Command('stats', 'how much there is, and how long it waits', 'How many tasks are in each place, for how long the '
            'oldest has waited, and how many workers there are: a line for each queue.', add_stats_arguments, stats),
)  # fmt: skip

"""What is asked of a survey of groups that was made already: another order, or groups of some name."""

import dataclasses
import fnmatch
import heapq
import math
import re
from collections.abc import Callable
from typing import Any

from torrelque.operate import Groups, GroupView

KEPT = 20_000
"""Groups of a survey that are kept."""

ORDERS: dict[str, Callable[[GroupView], Any]] = {
    'waiting': lambda group: (-group.waiting, group.name),
    'oldest': lambda group: (math.inf if group.oldest is None else group.oldest, group.name),
    'slots': lambda group: (-group.slots, group.name),
    'name': lambda group: group.name,
}
"""By what groups can be ordered, as `torrelque.operate.Operator.groups` has it."""


def pick(survey: Groups, by: str, most: int, pattern: str | None = None) -> Groups:
    """The first groups of a survey by a figure.

    :param pattern: of names, in which ``*`` stands for any text.
    """
    found = survey.groups
    if pattern is not None:
        # All else stands for itself.
        match = re.compile(fnmatch.translate(re.sub(r'[?[]', r'[\g<0>]', pattern))).match
        found = tuple(group for group in found if match(group.name))
    return dataclasses.replace(survey, groups=tuple(heapq.nsmallest(most, found, key=ORDERS[by])))

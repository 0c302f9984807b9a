"""What rules say of this moment alone, for whoever looks now and then and keeps no state."""

from collections.abc import Iterable

from torrelque import TorrelqueQueue
from torrelque.operate import Finding, Operator

from .measures import MEASURES, measure, read
from .rules import Rule


async def breaches(queue: TorrelqueQueue, rules: Iterable[Rule]) -> list[Finding]:
    """Rules of a queue whose value is ``above`` or more now, whatever their ``for_`` is.  Nothing is written, nobody is
    told.

    :raises TorrelqueServerError: the server refuses to tell.
    :raises TorrelqueConnectionError: no reply came for some ten seconds.
    """
    about = [rule for rule in rules if rule.is_of(queue.name)]
    if not about:
        return []
    seen = await read(Operator(queue, read_only=True), {rule.when for rule in about})
    found = []
    for rule in about:
        value, words = measure(rule.when, seen, rule.at_least)
        if value is not None and value >= rule.above:
            advice = f'torrelque {MEASURES[rule.when].verb}'
            found.append(Finding(queue.name, 'error', rule.name, f'{rule.name}: {words}', advice))
    return found

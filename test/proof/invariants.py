"""What must hold, by name, and the checks of it on the keys of a queue and on a call.

The layers of the rig, from the model to the chaos, refer to these numbers, and what a check finds is a `Fault`.  The
checks of a run's history, and the list of all checks, are in `history_checks.py`.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from model import model_checks as keys
from model.model_attempts import check_counts, check_history
from model.model_checks import Seen
from model.model_flows import check_begun, check_counted, check_waiting
from proof.standstill import FAILING

INVARIANTS = {
    1: 'one place: each id is in exactly one place, or final, or unknown',
    2: 'payloads: there is one if and only if the id is in a place; final states end by themselves; nothing else stays',
    3: 'fencing: who does not hold the current attempt changes not one byte, and is told',
    4: 'one holder: two hand-outs overlap only if the first lease had ended by the clock of the server',
    5: 'not lost: what was acknowledged and is not final is in a place',
    6: 'once: a command that is sent twice has the effect of one, and answers as it would have',
    7: 'cancelling at any await point leaves each task pending or delivered, or gives it back',
    8: 'one bad payload or key harms that task alone, and is reported with its id',
    9: 'groups: order, one at a time where limited, slots equal holders, none is forgotten',
    10: 'liveness: faults over, what is due or expired is pending in time; no script is long',
    11: 'every watch ends; statuses are monotone; connections do not grow',
    12: 'a deadline is a deadline; an idle consumer lives',
    13: 'schedules: each instant fires at most once; the next one is known; what skips never overlaps',
    14: 'flows: nothing begins before its join is satisfied; each end counts once; each flow ends and leaves nothing',
}


class Fault(NamedTuple):
    """Something that must not be."""

    invariant: int
    job: int | None
    text: str

    def __str__(self) -> str:
        about = '' if self.job is None else f' of job {self.job}'
        return f'invariant {self.invariant} ({INVARIANTS[self.invariant].partition(":")[0]}){about}: {self.text}'


# On the keys

KEY_CHECKS: dict[int, tuple[Callable[[Seen], None], ...]] = {
    1: (keys.check_one_place,),
    2: (keys.check_payloads, keys.check_untold, keys.check_lives, keys.check_nothing_else),
    6: (check_counts, check_history),
    9: (keys.check_order, keys.check_heads, keys.check_slots, keys.check_known_groups, keys.check_none_forgotten),
    13: (keys.check_next,),
    14: (check_waiting, check_begun, check_counted),
}


def check_keys(seen: Seen) -> Iterator[Fault]:
    """What is wrong with the keys of a queue by themselves, at any moment."""
    for invariant, checks in KEY_CHECKS.items():
        for check in checks:
            try:
                check(seen)
            except AssertionError as exc:
                first = next(iter((check.__doc__ or check.__name__).splitlines()))
                yield Fault(invariant, None, f'{first} {exc}'.rstrip())


def check_empty(seen: Seen) -> Iterator[Fault]:
    """What is left of a queue of which all tasks were finished and forgotten, and that has no time to live."""
    kept = {name.partition(':')[0] for name in seen.lives}
    lasting = {f'done:{flow}' for flow in seen.done} - {*seen.lives}
    rest = seen.names - {'task', 'claim', 'rate', *({'done', 'values'} & kept), *keys.LASTING} | lasting
    if rest or seen.payloads:
        yield Fault(2, None, f'left when all is released: {", ".join(sorted(rest))}')


# On a call, and on what it left behind

SLACK = 6.0
"""s by which a call may be late in a process that is stopped for a while, on a machine that has other things to do."""


def check_deadline(what: str, took: float, most: float, slack: float = SLACK) -> Iterator[Fault]:
    """Who has a deadline (s) comes to an end by then."""
    if took > most + slack:
        yield Fault(12, None, f'{what} took {took:.1f} s, and not {most:g}')


def check_cancellation(call: Future[Any], was_cancelled: bool) -> Iterator[Fault]:
    """A call that was cancelled while it was there ends so, whatever it had by then."""
    if not call.done():
        yield Fault(7, None, 'a call that was cancelled does not end')
    elif was_cancelled and not call.cancelled():
        ending = call.exception() or call.result()
        yield Fault(7, None, f'CancelledError did not come out as itself: it ends with {ending!r}')


def check_with_somebody(seen: Seen, held: Collection[str]) -> Iterator[Fault]:
    """What is being worked on was delivered to somebody: what was taken for a call that is gone was given back."""
    if stranded := {*seen.working} - {*held}:
        yield Fault(7, None, f'with nobody: {", ".join(sorted(stranded))}')


def check_lateness(what: str, late: float, most: float) -> Iterator[Fault]:
    """What is due comes in time (s)."""
    if late > most:
        yield Fault(10, None, f'{what} came {late:.1f} s late, and not {most:g} at the most')


def check_all_came(left: int, seconds: float) -> Iterator[Fault]:
    """Faults over, all that is in a queue can be taken out of it."""
    if left:
        yield Fault(10, None, f'{left} tasks are still there after {seconds:g} s')


def check_progress(verdict: str, why: str) -> Iterator[Fault]:
    """Faults over, who waits is handed what is there, however slowly, and for as long as the machine runs."""
    if verdict in FAILING:
        yield Fault(10, None, f'{verdict}: {why}')


def check_connections(what: str, count: int, most: int) -> Iterator[Fault]:
    """Connections are as many as queue objects need, whoever watches and waits."""
    if count > most:
        yield Fault(11, None, f'{count} connections {what}, and not {most}')

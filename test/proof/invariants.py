"""What must hold, by name, and the checks of it: on the keys of a queue, on a call, and on the history of a run.

The layers of the rig, from the model to the chaos, refer to these numbers; `CHECKS` says which functions belong to
each.  What a check finds is a `Fault`; "unknown outcome" is taken for done and for undone, whichever makes the history
a good one.
"""

from __future__ import annotations

import itertools
from asyncio import Future
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

import model_checks as keys
from history import Act, Damage, Hand, History, Story, Watched
from model_checks import Seen

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
    2: (keys.check_payloads, keys.check_lives, keys.check_nothing_else),
    6: (keys.check_counts,),
    9: (keys.check_order, keys.check_heads, keys.check_slots, keys.check_known_groups, keys.check_none_forgotten),
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
    """What is left of a queue of which all tasks were finished and forgotten."""
    rest = seen.names - {'task', 'claim', 'rate', *keys.LASTING}
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
    """Who was cancelled while it was there ends so, whatever it had by then."""
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


def check_connections(what: str, count: int, most: int) -> Iterator[Fault]:
    """Connections are as many as queue objects need, whoever watches and waits."""
    if count > most:
        yield Fault(11, None, f'{count} connections {what}, and not {most}')


# On the history

FINAL = (3, 4, 6)
"""Statuses after which nothing comes."""
ROUNDING = 1.0
"""ms by which the server's whole milliseconds may differ from the clock."""


def check_history(
    history: History,
    *,
    durable: bool = True,
    drained: bool = True,
    limits: dict[str, int] | None = None,
    resent: bool = True,
) -> Iterator[Fault]:
    """What is wrong with a history.

    :param durable: the server kept all that it acknowledged.  Else only what replicas confirmed must be there, and
        nothing is asked of what the server may have forgotten.
    :param drained: all that was in the queue has been taken out of it, until it was empty.
    :param limits: how many of a group may be worked on at once; 1 is strict order too.
    :param resent: replies may have been lost, and calls sent again.
    """
    for trouble in history.troubles:
        yield Fault(trouble.invariant, None, f'{trouble.who}: {trouble.text}')
    for story in history.stories.values():
        if story.damage is not None:
            yield from _check_reported(story, story.damage, history.reported)
            continue
        yield from _check_known(story)
        if drained:
            yield from _check_kept(story, durable)
        if durable:
            yield from _check_holders(story)
            yield from _check_fencing(story, resent)
            yield from _check_once(story, resent)
            yield from _check_cancelled(story)
    if durable:
        for watched in history.watches:
            yield from _check_watch(watched, history.story(watched.job))
        for group, limit in (limits or {}).items():
            stories = [each for each in history.stories.values() if each.group == group and each.damage is None]
            yield from _check_limit(group, limit, stories)
            if limit == 1:
                yield from _check_order(group, stories)


def lost(history: History) -> list[int]:
    """Jobs that were acknowledged and never finished."""
    return [
        story.job
        for story in history.stories.values()
        if story.is_acknowledged and not story.is_finished and story.damage is None
    ]


def handed_out_twice(history: History) -> list[int]:
    """Jobs that somebody was handed while another held it by right."""
    return [
        story.job for story in history.stories.values() if story.damage is None and any(_check_holders(story))
    ]


def _check_reported(story: Story, damage: Damage, reported: Collection[str]) -> Iterator[Fault]:
    """Who is damaged harms itself alone, so all others are judged; and somebody is told."""
    if damage.is_done and not story.is_finished and damage.task_id not in reported:
        yield Fault(8, story.job, f'{damage.kind}, and nobody was told of {damage.task_id}')


def _check_known(story: Story) -> Iterator[Fault]:
    if story.hands and not any(act.may_be_done for act in story.enqueues):
        yield Fault(6, story.job, 'handed out, and was never enqueued')


def _check_kept(story: Story, durable: bool) -> Iterator[Fault]:
    if not story.is_finished and (story.is_acknowledged if durable else story.is_confirmed):
        yield Fault(5, story.job, f'acknowledged, and lost after {len(story.hands)} hand-outs')


def _check_holders(story: Story) -> Iterator[Fault]:
    for first, second in itertools.pairwise(story.hands):
        end = min(first.end_of_lease(), _given_back(story, first))
        if second.latest + ROUNDING < end and not _may_be_enqueued_again(story, second):
            early = first.end_of_lease() - second.latest
            yield Fault(4, story.job, f'{second.who} had it {early:.0f} ms before the lease of {first.who} ended')


def _given_back(story: Story, hand: Hand) -> float:
    """From when on its holder may have given it back (ms).

    Who asked for that twice, for the reply was lost, is refused where somebody else has finished the task in between:
    a known limit.
    """
    refused = [act for act in hand.acts if act.verb in ('requeue', 'bury') and act.answer is False]
    begins = [act.began for act in refused if _is_finished_by_another(story, hand, act.ended)]
    return min([*begins, hand.given_back() or float('inf')])


def _is_finished_by_another(story: Story, hand: Hand, before: float | None) -> bool:
    """Whether somebody else may have begun to release it, or to cancel it, before (ms)."""
    others = [act for act in story.acts if act.verb == 'release' and act.hand != hand.key] + story.cancels
    return any(act.may_be_done and act.began <= (before or float('inf')) for act in others)


def _may_be_enqueued_again(story: Story, hand: Hand) -> bool:
    """Whether an enqueue may have been resent after its task was finished and forgotten, which is a known limit.

    The release that has finished it may have been sent twice as well, and refused then, for it is another task by now.
    """
    begins = [act.began for act in story.acts if act.verb == 'release' and act.began <= hand.latest + ROUNDING]
    return any(act.ended is None or act.answer is None or act.ended >= min(begins) for act in story.enqueues if begins)


def _check_fencing(story: Story, resent: bool) -> Iterator[Fault]:
    for place, hand in enumerate(story.hands):
        later = story.hands[place + 1 :]
        for act in hand.acts:
            stale = act.is_done and any(other.latest + ROUNDING < act.began for other in later)
            # A release that is sent twice, for the reply was lost, is answered "done" where the task is gone.
            is_gone = act.verb == 'release' and _is_finished_by_another(story, hand, act.ended)
            if stale and not (resent and is_gone):
                yield Fault(3, story.job, f'{act.verb} of {hand.who} was done though somebody else had been handed it')
            elif act.answer is False and not _may_be_refused(story, hand, act, later):
                yield Fault(6, story.job, f'{act.verb} of {hand.who} was refused without a reason')


def _may_be_refused(story: Story, hand: Hand, act: Act, later: list[Hand]) -> bool:
    ended = act.ended or float('inf')
    return (
        any(other.earliest <= ended + ROUNDING for other in later)
        or any(cancel.may_be_done and cancel.began <= ended for cancel in story.cancels)
        or any(other.may_be_done for other in hand.acts if other.verb != 'touch' and other.began < act.began)
        # It may have gone to somebody whom nobody heard of again.
        or hand.end_of_lease() <= ended + ROUNDING
        # Or it was done at the first sending, and a repeated enqueue had made another task of it before the second.
        or any((enqueue.ended or float('inf')) >= act.began for enqueue in story.enqueues)
    )


def _check_once(story: Story, resent: bool) -> Iterator[Fault]:
    releases = [act for hand in story.hands for act in hand.acts if act.verb == 'release' and act.is_done]
    again = any(_may_be_enqueued_again(story, hand) for hand in story.hands)
    counts = Counter(act.hand if resent else '' for act in releases)
    if max(counts.values(), default=0) > 1 and not again:
        yield Fault(6, story.job, f'released {len(releases)} times')
    for first in story.enqueues[:1]:
        ended = first.ended or 0
        if first.info.get('duplicate') and not any(hand.earliest <= ended + ROUNDING for hand in story.hands):
            yield Fault(6, story.job, 'refused as a duplicate of itself')
    for act in releases:
        for hand in story.hands:
            late = act.ended is not None and hand.earliest > act.ended + ROUNDING
            if late and not _may_be_enqueued_again(story, hand):
                yield Fault(6, story.job, f'handed to {hand.who} after it was released')
    attempts = [hand.attempt for hand in story.hands if hand.attempt is not None]
    if attempts != sorted(set(attempts)) and not again:
        yield Fault(3, story.job, f'its attempts were {attempts}')


def _check_cancelled(story: Story) -> Iterator[Fault]:
    done = [act.ended for act in story.cancels if act.is_done and act.ended is not None]
    for hand in story.hands:
        if done and hand.earliest > min(done) + ROUNDING and not _may_be_enqueued_again(story, hand):
            yield Fault(6, story.job, f'handed to {hand.who} after it was cancelled')


def _check_watch(watched: Watched, story: Story) -> Iterator[Fault]:
    if story.damage is not None:
        return
    for (status, *before), (_, *after) in itertools.pairwise(watched.states):
        if status in FINAL:
            yield Fault(11, story.job, f'watched on after the final status {status}')
        if any(new < old for old, new in zip(before, after, strict=True)):
            yield Fault(11, story.job, f'counts went down: {watched.states}')
    if watched.end in ('final', 'gone', 'unknown') and not story.is_finished:
        yield Fault(11, story.job, f'a watch ended ({watched.end}) though nobody has finished it')


def _spans(stories: Iterable[Story]) -> Iterator[tuple[float, float, Hand]]:
    """From when to when a hand-out certainly held its job."""
    for story in stories:
        for hand in story.hands:
            ends = [hand.end_of_lease(), _given_back(story, hand)]
            ends += [cancel.began for cancel in story.cancels if cancel.may_be_done]
            if hand.latest + ROUNDING < min(ends):
                yield hand.latest, min(ends) - ROUNDING, hand


def _check_limit(group: str, limit: int, stories: Iterable[Story]) -> Iterator[Fault]:
    changes = []
    for begin, end, hand in _spans(stories):
        changes += [(begin, 1, hand), (end, -1, hand)]
    held = 0
    # Who ends goes before who begins at the same moment.
    for at, change, hand in sorted(changes, key=lambda item: item[:2]):
        held += change
        if held > limit:
            yield Fault(9, hand.job, f'{held} of group {group} at once at {at:.0f}, its limit is {limit}')
            return


def _check_order(group: str, stories: Iterable[Story]) -> Iterator[Fault]:
    """Who was enqueued before another began to be must be handed out before it."""
    by_producer: dict[str, list[Story]] = defaultdict(list)
    for story in stories:
        if story.is_acknowledged and len(story.enqueues) == 1 and story.hands:
            by_producer[str(story.enqueues[0].info.get('by', ''))].append(story)
    for line in by_producer.values():
        line.sort(key=lambda story: story.enqueues[0].began)
        for first, second in itertools.pairwise(line):
            apart = (first.enqueues[0].ended or float('inf')) < second.enqueues[0].began
            # Who is handed out for the second time may have been lost on the way at the first.
            known = first.hands[0].attempt == 1 and not first.enqueues[0].info.get('delay')
            if apart and known and first.hands[0].earliest > second.hands[0].latest + ROUNDING:
                yield Fault(9, second.job, f'handed out before {first.job}, which is before it in group {group}')


# All of them

CHECKS: dict[int, tuple[Callable[..., object], ...]] = {
    **KEY_CHECKS,
    3: (_check_fencing,),
    4: (_check_holders,),
    5: (_check_kept,),
    6: (*KEY_CHECKS[6], _check_known, _check_once, _check_cancelled),
    7: (check_cancellation, check_with_somebody),
    8: (_check_reported,),
    9: (*KEY_CHECKS[9], _check_limit, _check_order),
    10: (check_lateness, check_all_came),
    11: (_check_watch, check_connections),
    12: (check_deadline,),
}
"""The checks of each invariant; those that compare steps are in `model_checks.py` besides."""

"""The checks of a run's history, by invariant.

"Unknown outcome" is taken for done and for undone, whichever makes the history a good one; what is documented as a
limit of calls that are sent twice is allowed only where one may have been.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator

from proof.history import ROUNDING, Act, Damage, Hand, History, Story, Watched
from proof.invariants import (
    KEY_CHECKS,
    Fault,
    check_all_came,
    check_cancellation,
    check_connections,
    check_deadline,
    check_lateness,
    check_progress,
    check_with_somebody,
)
from proof.lives import (
    given_back,
    is_enqueued_since,
    is_finished_since,
    is_over,
    lives_of,
    may_be_dead,
    may_be_enqueued_again,
    may_be_finished,
)

FINAL = (3, 4, 6)
"""Statuses after which nothing comes."""


def check_history(
    history: History,
    *,
    durable: bool = True,
    drained: bool = True,
    limits: dict[str, int] | None = None,
    resent: bool = True,
    still: Collection[int] = (),
) -> Iterator[Fault]:
    """What is wrong with a history.

    :param durable: the server kept all that it acknowledged.  Else only what replicas confirmed must be there, and
        nothing is asked of what the server may have forgotten.
    :param drained: all that was in the queue has been taken out of it, until it was empty.
    :param limits: how many of a group may be worked on at once; 1 is strict order too.
    :param still: jobs that are in the queue at the end, where it was not drained: they are late, and not lost.
    :param resent: replies may have been lost, and calls sent again.
    """
    for trouble in history.troubles:
        yield Fault(trouble.invariant, None, f'{trouble.who}: {trouble.text}')
    for story in history.stories.values():
        if story.damage is not None:
            yield from _check_reported(story, story.damage, history.reported)
            continue
        yield from _check_known(story)
        if drained and story.job not in still:
            yield from _check_kept(story, durable)
        if durable:
            yield from _check_holders(story)
            yield from _check_fencing(story, resent)
            yield from _check_once(story, resent)
            yield from _check_cancelled(story)
            yield from _check_due(story)
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


def unheard(history: History) -> int:
    """Hand-outs that reached nobody who wrote it down: attempts that are missing before others."""
    count = 0
    for story in history.stories.values():
        for hands in lives_of(story):
            attempts = [hand.attempt for hand in hands if hand.attempt is not None]
            count += max(attempts, default=0) - len(attempts)
    return count


def _check_reported(story: Story, damage: Damage, reported: Collection[str]) -> Iterator[Fault]:
    """A task that is damaged harms itself alone, so all others are judged; and somebody is told."""
    if damage.is_done and not story.is_finished and damage.task_id not in reported:
        yield Fault(8, story.job, f'{damage.kind}, and nobody was told of {damage.task_id}')


def _check_known(story: Story) -> Iterator[Fault]:
    if story.hands and not any(act.may_be_done for act in story.enqueues):
        yield Fault(6, story.job, 'handed out, and was never enqueued')


def _check_kept(story: Story, durable: bool) -> Iterator[Fault]:
    is_finished = may_be_finished(story) if durable else story.is_finished
    if not is_finished and (story.is_acknowledged if durable else story.is_confirmed):
        yield Fault(5, story.job, f'acknowledged, and lost after {len(story.hands)} hand-outs')


def _check_holders(story: Story) -> Iterator[Fault]:
    for hands in lives_of(story):
        for first, second in itertools.pairwise(hands):
            end = min(first.end_of_lease(), given_back(story, first))
            if second.latest + ROUNDING < end:
                early = first.end_of_lease() - second.latest
                yield Fault(4, story.job, f'{second.who} had it {early:.0f} ms before the lease of {first.who} ended')


def _check_fencing(story: Story, resent: bool) -> Iterator[Fault]:
    for place, hand in enumerate(story.hands):
        later = story.hands[place + 1 :]
        for act in hand.acts:
            if act.is_done and is_over(story, hand, act):
                # A release that is sent twice, because the reply was lost, is answered "done" where the task is gone.
                is_gone = act.verb == 'release' and act.may_be_repeated and is_finished_since(story, hand, act)
                if not (resent and is_gone):
                    yield Fault(3, story.job, f'{act.verb} of {hand.who} was done though {_why_over(later, act)}')
            elif act.answer is False and not _may_be_refused(story, hand, act, later):
                yield Fault(6, story.job, f'{act.verb} of {hand.who} was refused without a reason')


def _why_over(later: Iterable[Hand], act: Act) -> str:
    if any(other.latest + ROUNDING < act.began for other in later):
        return 'somebody else had been handed it'
    return 'it had been given back, or cancelled'


def _may_be_refused(story: Story, hand: Hand, act: Act, later: list[Hand]) -> bool:
    ended = act.ended or float('inf')
    return (
        any(other.earliest <= ended + ROUNDING for other in later)
        or any(cancel.may_be_done and cancel.began <= ended for cancel in story.cancels)
        # A worker renews the lease of what it is just about to settle.
        or any(
            other.may_be_done
            for other in hand.acts
            if other.verb != 'touch' and other is not act and other.began <= ended
        )
        # It may have gone to somebody whom nobody heard of again.
        or hand.end_of_lease() <= ended + ROUNDING
        # Or it was done at the first sending, and a repeated enqueue had made another task of it before the second:
        # then that one is handed out in the end.
        or act.verb == 'release'
        and is_enqueued_since(story, hand, act)
    )


def _check_once(story: Story, resent: bool) -> Iterator[Fault]:
    releases = [act for hand in story.hands for act in hand.acts if act.verb == 'release' and act.is_done]
    counts = Counter(act.hand if resent else '' for act in releases)
    if max(counts.values(), default=0) > 1:
        yield Fault(6, story.job, f'released {len(releases)} times')
    for first in story.enqueues[:1]:
        # It bears the marks of the last four calls that changed it: that takes two holders at the least.
        passed = [hand for hand in story.hands if hand.earliest <= first.end + ROUNDING]
        often = any(hand.attempt != 1 for hand in story.hands)
        if first.info.get('duplicate') and not (first.may_be_repeated and passed and often):
            yield Fault(6, story.job, 'refused as a duplicate of itself')
    for first, second in itertools.pairwise(story.enqueues):
        finishes = [act for act in (*story.acts, *story.cancels) if act.verb in ('release', 'cancel')]
        over = any(act.began <= second.end and (act.may_be_done or act.may_be_repeated) for act in finishes)
        if first.is_done and second.is_done and not second.info.get('duplicate') and not over:
            yield Fault(6, story.job, 'enqueued twice by one id, though nobody had finished it')
    for hands in lives_of(story):
        for act in (act for hand in hands for act in hand.acts if act in releases):
            for hand in hands:
                if act.ended is not None and hand.earliest > act.ended + ROUNDING:
                    yield Fault(6, story.job, f'handed to {hand.who} after it was released')
        attempts = [hand.attempt for hand in hands if hand.attempt is not None]
        if attempts != sorted(set(attempts)):
            yield Fault(3, story.job, f'its attempts were {attempts}')


def _check_cancelled(story: Story) -> Iterator[Fault]:
    releases = [act for act in story.acts if act.verb == 'release']
    for cancel in story.cancels:
        ended = float('inf') if cancel.ended is None else cancel.ended
        again = may_be_enqueued_again(story, story.hands, ended)
        if cancel.is_done:
            for hand in lives_of(story)[-1]:
                if hand.earliest > ended + ROUNDING:
                    yield Fault(6, story.job, f'handed to {hand.who} after it was cancelled')
            if any(act.is_done for act in releases) and not again:
                yield Fault(6, story.job, 'both released and cancelled')
        elif cancel.answer is False:
            others = [*releases, *(other for other in story.cancels if other is not cancel)]
            finished = any(act.began <= ended and (act.may_be_done or act.may_be_repeated) for act in others)
            # One that nobody acknowledged may never have been there.
            if story.is_acknowledged and not finished:
                yield Fault(6, story.job, 'could not be cancelled, and nobody had finished it')


def _check_due(story: Story) -> Iterator[Fault]:
    """What was to be delayed is not handed out before."""
    delays = [act.began + act.info['delay'] * 1000 for act in story.enqueues if act.info.get('delay')]
    for hand in story.hands[:1]:
        if len(delays) == len(story.enqueues) > 0 and hand.latest + ROUNDING < min(delays):
            yield Fault(10, story.job, f'{hand.who} had it {min(delays) - hand.latest:.0f} ms before it was due')
    for first, second in (pair for hands in lives_of(story) for pair in itertools.pairwise(hands)):
        for act in first.acts:
            if act.is_done and act.info.get('delay') and not may_be_dead(story):
                due = act.began + act.info['delay'] * 1000
                if second.latest + ROUNDING < due:
                    yield Fault(10, story.job, f'{second.who} had it {due - second.latest:.0f} ms before it was due')


RANKS = {1: 0, 2: 1, 5: 2, 0: 3, 3: 4, 4: 4, 6: 4}
"""In which order statuses come while the counts of a task stay: working, delayed, dead, pending again, final.

(Who gives it back without a delay is counted, who redrives it is not.)"""


def _check_watch(watched: Watched, story: Story) -> Iterator[Fault]:
    if story.damage is not None:
        return
    for (status, *before), (new_status, *after) in itertools.pairwise(watched.states):
        if status in FINAL:
            yield Fault(11, story.job, f'watched on after the final status {status}')
        if any(new < old for old, new in zip(before, after, strict=True)):
            yield Fault(11, story.job, f'counts went down: {watched.states}')
        elif before == after and RANKS[new_status] < RANKS[status]:
            yield Fault(11, story.job, f'statuses went back: {watched.states}')
    for status, handed, returned in watched.states:
        # Every hand-out but the last has been returned, and the last where it waits again; but for what was dead, and
        # what is over (of which who waits may know no more than that).
        out = 0 if status == 0 or not handed else 1
        wrong = status == 5 or status not in (3, 6) and returned != handed - out
        if returned > handed or status == 1 and not handed or wrong and not may_be_dead(story):
            yield Fault(11, story.job, f'no task is so: status {status}, {handed} hand-outs, {returned} returns')
    releases = [act for act in story.acts if act.verb == 'release']
    reasons = {
        'gone': [*releases, *story.cancels],
        'unknown': [*releases, *story.cancels],
        'final': releases if watched.states and watched.states[-1][0] == 3 else story.cancels,
    }.get(watched.end)
    if reasons is not None and not any(
        act.began <= watched.ended and (act.may_be_done or act.may_be_repeated) for act in reasons
    ):
        yield Fault(11, story.job, f'a watch ended ({watched.end}) though nobody had finished it')
    if watched.states and not may_be_enqueued_again(story, story.hands, watched.ended):
        yield from _check_first_state(watched, story)


def _check_first_state(watched: Watched, story: Story) -> Iterator[Fault]:
    """A watch begins with what is, not with what was."""
    status, handed, _ = watched.states[0]
    known = [hand.attempt or 0 for hand in story.hands if hand.latest + ROUNDING < watched.began]
    if handed < max(known, default=0):
        yield Fault(11, story.job, f'a watch began with {handed} hand-outs, of {max(known)} that there had been')
    ends = [act.ended for act in (*story.acts, *story.cancels) if act.verb in ('release', 'cancel') and act.is_done]
    if status not in FINAL and any(end is not None and end + ROUNDING < watched.began for end in ends):
        yield Fault(11, story.job, f'a watch began with status {status} though it was finished')


def _spans(stories: Iterable[Story]) -> Iterator[tuple[float, float, Hand]]:
    """From when to when a hand-out certainly held its job."""
    for story in stories:
        for hand in story.hands:
            ends = [hand.end_of_lease(), given_back(story, hand)]
            ends += [cancel.began for cancel in story.cancels if cancel.may_be_done]
            if hand.latest + ROUNDING < min(ends):
                yield hand.latest, min(ends) - ROUNDING, hand


def _check_limit(group: str, limit: int, stories: Iterable[Story]) -> Iterator[Fault]:
    changes = []
    for begin, end, hand in _spans(stories):
        changes += [(begin, 1, hand), (end, -1, hand)]
    held: dict[str, Hand] = {}
    # Whatever ends goes before what begins at the same moment.
    for at, change, hand in sorted(changes, key=lambda item: item[:2]):
        if change < 0:
            del held[hand.key]
            continue
        held[hand.key] = hand
        if len(held) > limit:
            who = ', '.join(f'{one.who} (job {one.job}, from {one.latest:.0f})' for one in held.values())
            text = f'{len(held)} of group {group} at once at {at:.0f}, its limit is {limit}: {who}'
            yield Fault(9, hand.job, text)
            return


def _check_order(group: str, stories: Iterable[Story]) -> Iterator[Fault]:
    """A task that was enqueued before another began to be must be finished before the other is handed out.

    What was dead, or waited for its first time, has lost its place; nobody knows it of what was enqueued twice.
    """
    by_producer: dict[str, list[Story]] = defaultdict(list)
    for story in stories:
        is_plain = story.damage is None and len(story.enqueues) == len(lives_of(story)) == 1
        if is_plain and story.is_acknowledged and story.hands:
            by_producer[str(story.enqueues[0].info.get('by', ''))].append(story)
    for line in by_producer.values():
        line.sort(key=lambda story: (story.enqueues[0].began, story.job))
        last: Story | None = None
        for story in line:
            enqueue = story.enqueues[0]
            for hand in story.hands[:1] if last else ():
                assert last is not None
                first = last.enqueues[0]
                # In one call they are in its order; one without an end had hand-outs of which nobody knows any more.
                together = first.began == enqueue.began and first.ended is not None
                apart = together or first.end < enqueue.began
                if apart and last.hands[-1].earliest > hand.latest + ROUNDING:
                    yield Fault(9, story.job, f'handed out before {last.job}, which is before it in group {group}')
            stays = not enqueue.info.get('delay') and not may_be_dead(story)
            if stays and (last is None or story.hands[-1].earliest > last.hands[-1].earliest):
                last = story


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
    10: (_check_due, check_lateness, check_all_came, check_progress),
    11: (_check_watch, _check_first_state, check_connections),
    12: (check_deadline,),
}
"""The checks of each invariant, those of keys and calls too; what compares steps is in `model_checks.py` besides."""

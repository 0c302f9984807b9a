"""What a story may mean: which tasks a job was, one after the other, who may have finished them, and since when.

A job may be more than one task: an enqueue that is sent again after its task was finished and forgotten makes another,
which is a known limit.
"""

from __future__ import annotations

from collections.abc import Iterable

from proof.history import ROUNDING, Act, Hand, Story


def lives_of(story: Story) -> list[list[Hand]]:
    """The hand-outs of each task that a job was.

    Another begins where attempts begin anew, or after what has certainly finished the one before; and only where an
    enqueue may have been carried out after that.
    """
    lives: list[list[Hand]] = [[]]
    for hand in story.hands:
        last = lives[-1][-1:]
        anew = any(old.attempt is not None and (hand.attempt or 0) <= old.attempt for old in last)
        if (anew or _is_finished(lives[-1], hand.earliest)) and may_be_enqueued_again(story, lives[-1], hand.latest):
            lives.append([])
        lives[-1].append(hand)
    return lives


def _is_finished(hands: Iterable[Hand], at: float) -> bool:
    """Whether one of its holders had released it before (ms)."""
    releases = (act for hand in hands for act in hand.acts if act.verb == 'release' and act.is_done)
    return any(act.ended is not None and act.ended + ROUNDING < at for act in releases)


def may_be_enqueued_again(story: Story, hands: Iterable[Hand], at: float) -> bool:
    """Whether an enqueue may have been carried out when these holders had finished the task, and before (ms)."""
    begins = [
        act.began
        for hand in hands
        for act in hand.acts
        # One that is refused may have been sent twice, and done the first time.
        if act.verb == 'release' and act.began <= at + ROUNDING and (act.may_be_done or act.may_be_repeated)
    ]
    return any(
        act.may_be_done and act.end >= min(begins) and (place > 0 or act.may_be_repeated)
        for place, act in enumerate(story.enqueues)
        if begins
    )


def may_be_finished(story: Story) -> bool:
    """Whether somebody may have finished it who could: who has given it back, or has lost it to another, cannot."""
    return any(act.may_be_done for act in story.cancels) or any(
        act.is_done or hand.may_be_released_by(act) and not is_over(story, hand, act)
        for hand in story.hands
        for act in hand.acts
        if act.verb == 'release'
    )


def is_over(story: Story, hand: Hand, act: Act) -> bool:
    """Whether its holder certainly had it no more when it began to do this."""
    later = story.hands[story.hands.index(hand) + 1 :]
    return (
        any(other.latest + ROUNDING < act.began for other in later)
        or any(other.verb != 'touch' and other.is_done and _ends_before(other, act) for other in hand.acts)
        or any(other.is_done and _ends_before(other, act) for other in story.cancels)
    )


def _ends_before(first: Act, second: Act) -> bool:
    return first is not second and first.ended is not None and first.ended + ROUNDING < second.began


def given_back(story: Story, hand: Hand) -> float:
    """From when on its holder may have given it back (ms).

    Whoever asked for that twice, because the reply was lost, is refused where somebody who was handed it since has
    finished the task in between, and whoever released it where it has been enqueued again, or where the lease was over
    when the second sending came: known limits.
    """
    refused = [act for act in hand.acts if act.answer is False and act.may_be_repeated and act.verb != 'touch']
    begins = [
        act.began
        for act in refused
        if hand.may_be_released_by(act)
        or (is_enqueued_since if act.verb == 'release' else is_finished_since)(story, hand, act)
    ]
    return min([*begins, hand.given_back() or float('inf')])


def is_enqueued_since(story: Story, hand: Hand, act: Act) -> bool:
    """Whether it may be another task, in another's hands in the end, since this released it."""
    is_last = hand is story.hands[-1]
    return act.may_be_repeated and not is_last and may_be_enqueued_again(story, [hand], act.began)


def is_finished_since(story: Story, hand: Hand, act: Act) -> bool:
    """Whether somebody who was handed it later may have released it before the end of this."""
    later = story.hands[story.hands.index(hand) + 1 :]
    return any(
        other.verb == 'release' and other.began <= act.end and (other.may_be_done or other.may_be_repeated)
        for holder in later
        for other in holder.acts
    )


def may_be_dead(story: Story) -> bool:
    """Whether it may have been among the dead, from where it is brought back out of turn."""
    return any(act.info.get('most') for act in story.enqueues) or any(
        act.verb == 'bury' and (act.may_be_done or act.may_be_repeated) for act in story.acts
    )

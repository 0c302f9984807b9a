"""What the layers have in common that do something to the servers while work goes on: restarts, failovers, moves.

A run is: load on a queue, the disturbance, load again, then no more faults, and the queue is drained.  Its history is
judged as that of a server that kept everything, but for the gap of which a server says that it may be lost: what was
answered in there counts as unknown (`forget`), and nothing else does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import redis

from model.model_checks import DUMP, Seen, read_dump
from proof.actors import GROUPS, Actor, Work
from proof.history import ROUNDING, Act, Hand, History, Recorder, Story
from proof.history_checks import check_history, handed_out_twice, lost
from proof.invariants import Fault, check_all_came, check_empty, check_keys
from proof.peers import Ours

LIMITS = {group: limit for group, limit in GROUPS.items() if limit}
PATIENCE = 120.0
"""s in which a queue is drained when the faults are over; nothing but a queue that stands still needs them."""

END = 400.0
"""s after which a run is given up."""


class Gap(NamedTuple):
    """From when to when (ms) what was answered may have been lost by the server."""

    begin: float
    end: float


@dataclass
class Outcome:
    """What a run, or several, came to."""

    runs: int = 0
    disturbances: int = 0
    """Kills, or moves of slots."""
    acknowledged: int = 0
    confirmed: int = 0
    """Tasks of which a replica is known to have had them."""
    handed_out: int = 0
    lost: int = 0
    lost_confirmed: int = 0
    again: int = 0
    """Tasks that were handed out after the call that released them had answered."""
    again_enqueued: int = 0
    """Of those, the ones of which an enqueue was still on its way: resent when they were finished, a known limit."""
    twice: int = 0
    """Tasks that two had at once, neither lease over."""
    raised: int = 0
    """Calls that raised, for so many tasks."""
    gap: list[float] = field(default_factory=list)
    """s from what is certainly kept to the last answer before the server was gone, of each run."""
    first: list[float] = field(default_factory=list)
    """s from when the server was there again until it handed something out, of each run."""
    away: list[float] = field(default_factory=list)
    """s from the disturbance until something was handed out."""
    drained: list[float] = field(default_factory=list)
    """s that it took to drain the queue."""
    faults: list[Fault] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def figures(self) -> dict[str, Any]:
        def spread(values: list[float]) -> dict[str, float] | None:
            if not values:
                return None
            return {'median': round(statistics.median(values), 3), 'max': round(max(values), 3)}

        spreads = {name: spread(getattr(self, name)) for name in ('gap', 'first', 'away', 'drained')}
        counts = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return {**counts, **spreads, 'faults_found': len(self.faults)}


# Load


class Load:
    """Three producers, two consumers of five loops and an operator on a queue, until `finish`.

    :param clients: for the producers, and for each of the consumers.
    """

    def __init__(self, path: Path, clients: Sequence[Any], queue: str, seed: int, pause: float = 0.02) -> None:
        self.queue = queue
        self._path = path / queue
        self._recorder = Recorder(self._path, queue)
        self._peers = [Ours(client, queue) for client in clients]
        work = Work(bulk=20, pause=pause)
        first, *others = self._peers
        self._producers = [Actor(first, self._recorder, seed * 100 + n, work) for n in range(3)]
        self._consumers = [Actor(peer, self._recorder, seed * 100 + 10 + n, work) for n, peer in enumerate(others)]
        self._calls: list[asyncio.Future[None]] = []
        self._stopped = False
        self._producing = True

    async def start(self) -> None:
        for group, limit in LIMITS.items():
            await self._peers[0].queue.set_limit(group, concurrency=limit)
        jobs = iter(range(10**9))
        calls = [
            *(actor.produce(jobs, lambda: not self._producing, f'p{n}') for n, actor in enumerate(self._producers)),
            *(actor.consume(lambda: self._stopped) for actor in self._consumers * 5),
            self._consumers[0].operate(lambda: self._stopped),
        ]
        self._calls = [asyncio.ensure_future(call) for call in calls]

    async def finish(self) -> tuple[list[Fault], float]:
        """Have producers end, then consumers, and drain the queue; what was wrong, and how long it took (s)."""
        self._producing = False
        await asyncio.gather(*self._calls[: len(self._producers)])
        self._stopped = True
        await asyncio.gather(*self._calls)
        began = time.monotonic()
        left = await self._consumers[0].drain(PATIENCE)
        faults = [*check_all_came(left, PATIENCE)]
        faults += [
            Fault(3, None, f'raised {trouble!r}')
            for actor in (*self._producers, *self._consumers)
            for trouble in actor.troubles
        ]
        return faults, time.monotonic() - began

    async def aclose(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        for peer in self._peers:
            await peer.aclose()
        self._recorder.close()

    def history(self) -> History:
        return History.read([self._path])


def look(server: redis.Redis, queue: str) -> Seen:
    """All keys of a queue at one moment."""
    return read_dump(server.eval(DUMP, 0, f'{{{queue}}}:'))


# Judging


def forget(history: History, gap: Gap) -> list[Fault]:
    """Take what was answered in the gap for unknown, and who was handed a task in it for nobody.

    What the server kept of it all the same is then judged too mildly, never too strictly.  One thing is judged here:
    who was handed a task in the gap must be refused when somebody else has been handed it since.
    """
    faults: list[Fault] = []
    for story in history.stories.values():
        for act in _acts(story):
            if act.ended is not None and gap.begin <= act.ended <= gap.end:
                act.answer = None
        kept = [hand for hand in story.hands if not gap.begin - ROUNDING <= hand.latest <= gap.end]
        if len(kept) < len(story.hands):
            faults += _check_undone(story, gap)
            _forget_hands(story, kept)
    return faults


def _check_undone(story: Story, gap: Gap) -> Iterator[Fault]:
    since = [hand for hand in story.hands if hand.latest > gap.end]
    for hand in story.hands:
        if gap.begin - ROUNDING <= hand.latest <= gap.end:
            # Attempts go up, so a claim whose attempt was given again is certainly lost.
            certain = any((other.attempt or 0) <= (hand.attempt or 0) for other in since)
            for act in hand.acts:
                late = any(other.latest + ROUNDING < act.began for other in since)
                answered = act.is_done and (act.ended or 0) > gap.end
                if answered and (late or certain) and not _is_finished_by(since, act):
                    yield Fault(3, story.job, f'{act.verb} of {hand.who} was done, whose claim the server had lost')


def _is_finished_by(hands: list[Hand], act: Act) -> bool:
    """Whether a release may have been resent when others had finished the task, which is answered as done."""
    releases = [other for hand in hands for other in hand.acts if other.verb == 'release' and other.may_be_done]
    return act.verb == 'release' and any(other.began <= (act.ended or 0) for other in releases)


def _forget_hands(story: Story, kept: list[Hand]) -> None:
    # What they did may have counted: as if somebody else had done it.
    for hand in story.hands:
        if hand not in kept:
            story.cancels += [Act('cancel', story.job, act.began, act.ended) for act in hand.acts if act.may_be_done]
    story.hands[:] = kept
    # Whoever was first is not known any more.
    for act in story.enqueues:
        act.ended = None


def judge(outcome: Outcome, history: History, *, gap: Gap | None = None, limited: bool = True) -> None:
    """Count what happened in a run, and find what must not have.

    :param gap: what the server may have lost.
    :param limited: whether the limits of groups are among what it kept.
    """
    stories = history.stories.values()
    gone = set(lost(history))
    outcome.runs += 1
    outcome.acknowledged += sum(story.is_acknowledged for story in stories)
    outcome.confirmed += sum(story.is_confirmed for story in stories)
    outcome.handed_out += sum(len(story.hands) for story in stories)
    outcome.lost += len(gone)
    outcome.lost_confirmed += sum(story.is_confirmed for story in stories if story.job in gone)
    again = [story for story in stories if _is_handed_out_after_release(story)]
    outcome.again += len(again)
    outcome.again_enqueued += sum(map(_is_enqueued_late, again))
    outcome.twice += len(handed_out_twice(history))
    outcome.faults += [
        Fault(5, job, 'a replica had it, and it is lost') for job in gone if history.stories[job].is_confirmed
    ]
    raised = [
        (story.job, act)
        for story in stories
        for act in _acts(story)
        if act.ended is not None and act.answer is None
    ]
    outcome.raised += len(raised)
    # Nothing of this takes the ten seconds for which calls are repeated.
    outcome.faults += [Fault(6, job, f'{act.verb} raised, and was not repeated to its end') for job, act in raised]
    if gap is not None:
        acts = [act for story in stories for act in _acts(story)]
        begin = max(gap.begin, min((act.began for act in acts), default=gap.begin))
        answered = [act.ended for act in acts if act.ended is not None and begin <= act.ended <= gap.end]
        outcome.gap.append((max(answered, default=begin) - begin) / 1000)
        outcome.faults += forget(history, gap)
    outcome.faults += check_history(history, limits=LIMITS if limited else None)


def judge_recovery(outcome: Outcome, history: History, struck: float, recovered: float) -> None:
    """How long (ms) nothing was handed out, and whether anything ever was.

    :param struck: when the server was gone.
    :param recovered: when it was there again.
    """
    later = [hand.latest for story in history.stories.values() for hand in story.hands if hand.latest > struck]
    if later:
        outcome.first.append(max(0.0, min(later) - recovered) / 1000)
        outcome.away.append((min(later) - struck) / 1000)
    else:
        outcome.faults.append(Fault(10, None, 'nothing was handed out any more'))


def _acts(story: Story) -> list[Act]:
    return [*story.enqueues, *story.cancels, *story.acts]


def _is_handed_out_after_release(story: Story) -> bool:
    ends = [act.ended for act in story.acts if act.verb == 'release' and act.is_done and act.ended is not None]
    return bool(ends) and any(hand.earliest > min(ends) + ROUNDING for hand in story.hands)


def _is_enqueued_late(story: Story) -> bool:
    began = min(act.began for act in story.acts if act.verb == 'release' and act.is_done)
    return any(act.ended is None or act.ended > began for act in story.enqueues)


def judge_keys(outcome: Outcome, seen: Seen, *, empty: bool = False) -> None:
    """What is wrong with the keys at a moment."""
    outcome.faults += [*check_keys(seen), *(check_empty(seen) if empty else ())]


async def finish(outcome: Outcome, load: Load, link: redis.Redis, seconds: float) -> History:
    """Have load on a server that is there again for so long, and drain the queue; its keys are judged before and after.

    :return: what is to be judged of the run then.
    """
    judge_keys(outcome, await asyncio.to_thread(look, link, load.queue))
    await asyncio.sleep(seconds)
    faults, drained = await load.finish()
    outcome.faults += faults
    outcome.drained.append(drained)
    judge_keys(outcome, look(link, load.queue), empty=True)
    return load.history()


# Command line

Run = Callable[[argparse.Namespace, int, Path], Awaitable[Outcome]]
"""One run: options, number of the run, directory of its own."""


def options(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(description or '').partition('\n')[0])
    parser.add_argument('--runs', type=int, default=1)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--seconds', type=float, default=3.0, help='of load in each run')
    parser.add_argument('--server', default='valkey9', help='kinds, by turns')
    parser.add_argument('--at-once', type=int, default=1, help='runs, which wait more than they work')
    parser.add_argument('--until', type=float, help='s after which no further run begins')
    return parser


def drive(run: Run, chosen: argparse.Namespace) -> int:
    """Do the runs; prints a line of faults for each that has some, and the figures last.

    The seed of each run is its own, so one that found something is repeated alone: ``--runs 1 --seed SEED``.
    """
    logging.disable(logging.CRITICAL)
    outcome = asyncio.run(_drive(run, chosen))
    asked = {name: value for name, value in vars(chosen).items() if name not in ('at_once', 'until')}
    print(json.dumps({**asked, **outcome.figures()}))
    return 1 if outcome.faults else 0


async def _drive(run: Run, chosen: argparse.Namespace) -> Outcome:
    outcome = Outcome()
    began = time.monotonic()
    seeds = iter(range(chosen.seed, chosen.seed + chosen.runs))

    async def work() -> None:
        for seed in seeds:
            if chosen.until is not None and time.monotonic() - began > chosen.until:
                return
            one = await run_once(run, chosen, seed)
            outcome.add(one)
            if one.faults:
                first, *others = one.faults[:20]
                # A record keeps the lines that are not indented.
                print(f'seed {seed}: {len(one.faults)} faults: {first}', *others, sep='\n  ', flush=True)

    await asyncio.gather(*(work() for _ in range(chosen.at_once)))
    return outcome


async def run_once(run: Run, chosen: argparse.Namespace, seed: int) -> Outcome:
    kinds = chosen.server.split(',')
    with tempfile.TemporaryDirectory(prefix='torrelque-') as directory:
        one = run(argparse.Namespace(**vars(chosen), kind=kinds[seed % len(kinds)]), seed, Path(directory))
        try:
            return await asyncio.wait_for(one, END)
        except asyncio.TimeoutError:
            text = f'the run has not come to its end after {END:g} s'
        except Exception as exc:
            text = f'the run ended with {exc!r}'
    return Outcome(runs=1, faults=[Fault(10, None, text)])

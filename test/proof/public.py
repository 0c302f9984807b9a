"""Any order of calls and faults through the public verbs alone, which another queue can be judged by as well.

    python -m proof.public [--steps N] [--seed S] [--server KIND] [--peer ours|reference]

A rule machine of hypothesis makes calls, loses their requests and replies, cancels them, lets leases end, and writes
down what was answered; at the end all is finished, and the history is judged.  (The machine of `test_model.py` knows
our keys and scripts, and is more severe.)  It stops at the first fault.  The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import HealthCheck, Phase, note, seed, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from proof.history import History, Recorder, now
from proof.history_checks import check_history
from proof.invariants import check_all_came
from proof.peers import FAILURES, Ours, Peer, Taken
from support.processes import TEST, environment
from support.proxy import open_proxy

if TYPE_CHECKING:
    from support.servers import RealServer

LEASES = {'ours': 0.15, 'reference': 1.0}
"""Lengths of all leases (s); that of the reference in whole seconds, as it may round them."""


class Running(NamedTuple):
    """A server that somebody else has started."""

    socket: str


class Public(RuleBasedStateMachine):
    """Draws the steps."""

    server: RealServer | Running
    make_peer: Callable[[Any, str], Peer]
    lease: float
    done: list[int]
    """How many calls were made."""
    found: list[str]
    """Faults, as they are found: what hypothesis says of those that depend on real time may be something else."""
    names = map('public-{}'.format, itertools.count())

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.home = tempfile.TemporaryDirectory(prefix='trq')
        self.path = Path(self.home.name) / 'history'
        self.recorder = Recorder(self.path, 'machine')
        self.line = open_proxy(self.server)  # type: ignore[arg-type]
        self.proxy = self.run(self.line.__aenter__())
        self.client = self.proxy.client()
        name = next(self.names)
        self.peers = [self.run(self.start_peer(name)) for _ in range(2)]
        self.jobs = itertools.count()
        self.held: list[tuple[int, Taken, str]] = []
        """What was handed out: the place of the peer, the task, the key of the hand-out."""
        self.troubles: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: self.troubles.append(context))

    async def start_peer(self, name: str) -> Peer:
        return type(self).make_peer(self.client, name)

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(call)

    def attempt(self, key: str | None, call: Coroutine[Any, Any, Any]) -> Any:
        """Make a call; None where it raised what a call may raise."""
        self.done[0] += 1
        try:
            return self.run(call)
        except FAILURES as exc:
            note(repr(exc))
            if key is not None:
                self.recorder.end(key, None)

    @rule(place=st.integers(0, 1), count=st.integers(1, 3))
    def enqueue(self, place: int, count: int) -> None:
        jobs = [*itertools.islice(self.jobs, count)]
        key = self.recorder.begin('enqueue', jobs)
        if self.attempt(key, self.peers[place].enqueue(jobs, lease=self.lease)) is not None:
            self.recorder.end(key, [True] * count)

    @rule(place=st.integers(0, 1), count=st.integers(1, 3))
    def dequeue(self, place: int, count: int) -> None:
        self.note_taken(place, self.attempt_timed(self.peers[place].dequeue(count, 0.02)))

    @rule(place=st.integers(0, 1), turns=st.integers(0, 12))
    def dequeue_cancelled(self, place: int, turns: int) -> None:
        async def cancelled() -> list[Taken]:
            task: asyncio.Future[list[Taken]] = asyncio.ensure_future(self.peers[place].dequeue(1, 0.02))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                return await task
            except asyncio.CancelledError:
                return []

        self.note_taken(place, self.attempt_timed(cancelled()))

    def attempt_timed(self, call: Coroutine[Any, Any, list[Taken]]) -> tuple[float, list[Taken]]:
        began = now()
        found: list[Taken] | None = self.attempt(None, call)
        return began, found or []

    def note_taken(self, place: int, timed: tuple[float, list[Taken]]) -> None:
        began, found = timed
        ended = now()
        for taken in found:
            earliest, latest = (began, ended) if taken.claimed is None else (taken.claimed, taken.claimed)
            key = self.recorder.handed(
                taken.job, attempt=taken.attempt, earliest=earliest, latest=latest, lease=self.lease * 1000
            )
            self.held.append((place, taken, key))

    @rule(
        which=st.integers(0, 20),
        verb=st.sampled_from(['release', 'release', 'release', 'requeue', 'touch', 'bury']),
        again=st.booleans(),
        delay=st.sampled_from([None, None, 0.01, 0.2]),
    )
    def settle(self, which: int, verb: str, again: bool, delay: float | None) -> None:
        if not self.held:
            return
        place, taken, hand = self.held[-1 - which % len(self.held)]
        if not again or verb == 'release':
            # Whoever releases again what it has released, and loses the reply, is told that it is done: a known limit.
            self.held.remove((place, taken, hand))
        key = self.recorder.begin(verb, [taken.job], hands=[hand])
        answers = self.attempt(key, self.peers[place].settle(verb, [taken.task_id], delay))
        if answers is not None:
            self.recorder.end(key, answers)

    @rule(part=st.sampled_from([b'EVAL', b'EXEC', b'']), lost=st.sampled_from(['lose_request', 'lose_reply']))
    def lose(self, part: bytes, lost: str) -> None:
        """The next call's request, or its reply, is lost with its connection."""
        getattr(self.proxy, lost)(part)

    @rule()
    def cut(self) -> None:
        self.proxy.cut()

    @rule()
    def sleep(self) -> None:
        """All leases end."""
        self.run(asyncio.sleep(self.lease * 1.1))

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.finish()
        finally:
            for peer in self.peers:
                self.run(peer.aclose())
            self.run(self.client.aclose())
            self.run(self.line.__aexit__(None, None, None))
            self.loop.close()
            self.recorder.close()
            self.home.cleanup()

    def finish(self) -> None:
        """Faults over: finish all, and judge."""
        self.proxy.calm()
        for _ in range(200):
            place = 0
            self.note_taken(place, self.attempt_timed(self.peers[place].dequeue(100, 0.05)))
            for place, taken, hand in self.held:
                key = self.recorder.begin('release', [taken.job], hands=[hand])
                self.recorder.end(key, self.attempt(key, self.peers[place].settle('release', [taken.task_id])))
            self.held.clear()
            self.attempt(None, self.peers[0].redrive())
            if self.attempt(None, self.peers[0].left()) == 0:
                break
        faults = [*check_history(History.read([self.path])), *check_all_came(self.run(self.peers[0].left()), 10)]
        found = [str(fault) for fault in faults]
        found += [repr(trouble) for trouble in self.troubles]
        self.found += found
        assert not found, found


SETTINGS = settings(
    max_examples=20,
    stateful_step_count=40,
    database=None,
    deadline=None,
    # What depends on real time is not the same twice, and cannot be made small.
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


def run_machine(
    server: RealServer | Running, make_peer: Callable[[Any, str], Peer], lease: float, steps: int, first: int
) -> tuple[int, list[str]]:
    """Make so many calls, or until a fault is found; how many were made, and the faults."""
    done, found = [0], list[str]()
    few = settings(SETTINGS, max_examples=min(SETTINGS.max_examples, max(1, steps // 15)))
    while done[0] < steps and not found:
        kept = {'server': server, 'make_peer': staticmethod(make_peer), 'lease': lease, 'done': done, 'found': found}
        try:
            run_state_machine_as_test(seed(first + done[0])(type('Machine', (Public,), kept)), settings=few)
        except Exception:
            if not found:
                raise
    return done[0], found


def run_on_server(options: argparse.Namespace) -> int:
    """Start a server, and the machine in the environment of the queue that is judged; its exit status."""
    from proof.reference import install
    from support.servers import RealServer

    python = str(install()) if options.peer == 'reference' else sys.executable
    with RealServer(options.server) as server:
        # Another Python has a queue of its own, which one of this Python's places would hide.
        places = sys.path if python == sys.executable else []
        arguments = ['--socket', str(server.socket), '--peer', options.peer]
        numbers = ['--steps', str(options.steps), '--seed', str(options.seed)]
        command = [python, '-m', 'proof.public', *arguments, *numbers]
        return subprocess.run(command, cwd=TEST, env=environment(*places), check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=10_000)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--server', default='valkey9')
    parser.add_argument('--peer', default='ours', choices=['ours', 'reference'])
    parser.add_argument('--socket', help='of a server that runs, instead of one of its own')
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if not options.socket:
        return run_on_server(options)
    make_peer: Callable[[Any, str], Peer] = Ours
    if options.peer == 'reference':
        from proof.reference import Reference

        make_peer = Reference
    server, lease = Running(options.socket), LEASES[options.peer]
    steps, found = run_machine(server, make_peer, lease, options.steps, options.seed)
    print(*found, sep='\n')
    print(json.dumps({'peer': options.peer, 'first': options.seed, 'steps': steps, 'faults_found': len(found)}))
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())

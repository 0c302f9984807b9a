"""Parts are run until time is over: none begins that cannot end, and what is cut off counts as far as it is sure."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from proof.record.campaign import Campaign, Order
from proof.record.here import Here, commit
from proof.record.part import ROOT, Part, Record, Tally, hash_tree

END = 20.0
"""s that are left for the end of a part that is cut off."""


class Result(NamedTuple):
    """What became of an order."""

    order: Order
    part: Part | None
    """None where nothing is sure."""
    output: str


def by_need(campaigns: Sequence[Campaign], record: Record, tree: str) -> list[Campaign]:
    """Campaigns, first those of whose goals the least was reached; of those that reached theirs, with this tree."""

    def need(campaign: Campaign) -> tuple[float, float]:
        parts = record.of(campaign.name)
        whole, present = Tally(parts), Tally(part for part in parts if part.tree == tree)
        goals = campaign.goals_of(whole)
        return whole.share(goals), present.share(goals)

    return sorted(campaigns, key=need)


def choose(
    campaigns: Sequence[Campaign], record: Record, seconds: float, here: Here, tree: str, busy: Collection[str] = ()
) -> Order | None:
    """The next part that ends in so many seconds; None where there is none."""
    for campaign in by_need(campaigns, record, tree):
        is_free = campaign.name not in busy and not campaign.missing(here)
        if is_free and (order := campaign.plan(record.of(campaign.name), seconds, here)):
            return order
    return None


def carry_out(order: Order, end: float, here: Here, over: threading.Event, folder: Path = ROOT) -> Result:
    """Run a part.

    :param end: when (`time.monotonic`) it is ended at the latest.
    :param over: says that it is to be ended now.
    """
    campaign = order.campaign
    python = here.python(campaign.python)
    when = datetime.now(timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
    before = here.describe(order.kinds, python), commit(), hash_tree()
    began = time.monotonic()
    status, output = run([python, '-m', *order.words], order.environ, folder, lambda: over.is_set() or _is_over(end))
    outcome = campaign.read(order, output, status)
    if not outcome.is_something:
        return Result(order, None, output)
    # Something, so that what is planned by it does not come for nothing.
    seconds = max(0.1, round(time.monotonic() - began, 1))
    on, of_commit, tree = before
    part = Part(
        campaign.name, when, seconds, outcome.counts, outcome.found, outcome.seeds or (),
        [*outcome.rows], order.of, status is None, on, of_commit, tree,
    )  # fmt: skip
    return Result(order, part, output)


def _is_over(end: float) -> bool:
    return time.monotonic() > end


def run(
    command: Sequence[str], environ: Mapping[str, str], folder: Path, is_over: Callable[[], bool]
) -> tuple[int | None, str]:
    """Run a command until it ends or is to end; its exit status, None where it was ended, and what it printed."""
    paths = os.pathsep.join([str(folder), str(folder / 'test')])
    with tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, 'PYTHONPATH': paths, **environ}, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        status: int | None = None
        try:
            while status is None and not is_over():
                try:
                    status = process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            _end(process)
        output.seek(0)
        return status, output.read()


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started: at first it is asked."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END / 2)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def go_on(
    campaigns: Sequence[Campaign], record: Record, here: Here, minutes: float, *, at_once: int = 1,
    over: threading.Event, tell: Callable[[Result], None], folder: Path = ROOT,
) -> list[Campaign]:  # fmt: skip
    """Run parts until the time is over; the campaigns whose parts came to nothing, though nobody ended them."""
    end = time.monotonic() + minutes * 60 - END
    tree = hash_tree()
    left, failed = list(campaigns), list[Campaign]()
    running: dict[Future[Result], str] = {}
    with ThreadPoolExecutor(at_once) as pool:
        while True:
            while len(running) < at_once and not over.is_set():
                order = choose(left, record, end - time.monotonic(), here, tree, {*running.values()})
                if order is None:
                    break
                running[pool.submit(carry_out, order, end, here, over, folder)] = order.campaign.name
            if not running:
                return failed
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                del running[done]
                result = done.result()
                if result.part:
                    record.add(result.part)
                else:
                    left.remove(result.order.campaign)
                    if not (over.is_set() or _is_over(end)):
                        failed.append(result.order.campaign)
                tell(result)

"""The suite's part of the chaos: four seeds, by turns on the servers of the run, two through workers, two of flows; of
those of consumers the first in every run."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from proof.chaos import chaos, flows, proxied
from proof.chaos.apps import seeds
from proof.chaos.chaos import run_seed
from proof.chaos.faults import CONSUMERS, KEYS, LINE, SERVER, plan
from proof.chaos.figures import Figures
from proof.chaos.home import close_home, make_home
from support.servers import selected_kinds

SEEDS = (1, 2, 5, 8)  # which have all faults between them
OF_WORKERS = range(11, 13)
OF_FLOWS = range(1, 3)
SECONDS = 4.0

# As long as anything goes on, the rig waits for it, on a busy machine too.
pytestmark = pytest.mark.timeout(900)


def first_and_long(seeds: Sequence[int]) -> list[Any]:
    return [seeds[0], *(pytest.param(seed, marks=pytest.mark.long) for seed in seeds[1:])]


@pytest.mark.parametrize('seed', first_and_long(SEEDS))
async def test_no_fault_of_a_seed_loses_a_task_or_hands_it_out_twice(seed: int, tmp_path: Path) -> None:
    figures = await run_on_one(seed, 0, tmp_path)
    assert figures.counts['handouts'] and not figures.counts['by_workers']


@pytest.mark.long
@pytest.mark.parametrize('seed', OF_WORKERS)
async def test_no_fault_of_a_seed_has_a_worker_lose_a_task_or_handle_it_twice(seed: int, tmp_path: Path) -> None:
    figures = await run_on_one(seed, 1, tmp_path)
    assert figures.counts['by_workers'] > figures.counts['handouts'] / 10


@pytest.mark.long
@pytest.mark.parametrize('seed', OF_FLOWS)
async def test_each_flow_comes_to_its_end_whatever_happens_to_those_who_work_on_it(seed: int, tmp_path: Path) -> None:
    kinds = selected_kinds()
    found = await flows.run_seed(kinds[seed % len(kinds)], seed, SECONDS, tmp_path)
    assert not found.found, '\n'.join([*map(str, found.found), f'the journals are in {tmp_path}'])
    assert found.counts['flows'] and found.counts['begins'] and sum(found.place.counts.values()) > 5


async def run_on_one(seed: int, worker: float, tmp_path: Path) -> Figures:
    """A seed on one of the servers of the run, in which nothing is found."""
    kinds = selected_kinds()
    figures = await run_seed(kinds[seed % len(kinds)], seed, SECONDS, worker=worker, keep=tmp_path)
    assert not figures.found, '\n'.join([*figures.found, f'the history is in {tmp_path}'])
    assert figures.counts['tasks'] and sum(figures.faults.values()) > 20
    return figures


@pytest.mark.one_server
@pytest.mark.parametrize('layer', [chaos, flows, seeds, proxied])
def test_no_seed_begins_when_the_time_is_over(layer: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    # It sets a handler, which is of no use to other tests.
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert layer.main(layer.parse(['--seeds', '1000', '--until', '-1', '--keep', str(tmp_path)])) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['faults_found'] == 0
    assert not [*tmp_path.iterdir()]


@pytest.mark.one_server
def test_what_a_seed_has_written_down_is_kept_where_something_was_found(tmp_path: Path) -> None:
    kept, gone = (make_home('layer', 1, tmp_path / 'keep') for _ in range(2))
    close_home(kept, ['a fault', 'another'])
    close_home(gone, [])
    assert [*(tmp_path / 'keep').iterdir()] == [kept]
    assert (kept / 'found').read_text() == 'a fault\nanother'


def test_a_seed_has_one_plan_and_all_seeds_have_all_faults() -> None:
    assert plan(1, 60, 20) == plan(1, 60, 20) != plan(2, 60, 20)
    kinds = {step.kind for seed in SEEDS for step in plan(seed, SECONDS, 20)}
    assert kinds == {*LINE, *SERVER, *CONSUMERS, *KEYS}

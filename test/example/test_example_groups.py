"""The examples of groups: their promises and their proof hold, and fail where a fault is put in."""

from __future__ import annotations

import os
import pty
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import examples
from support.examples import ROOT, Example, Run, read_terminal, server_of
from support.processes import is_alive, wait_end
from torrelque.embedded import Server

run = examples.run

FAIR = ('--noisy', 200, '--small', 3, '--work', 0.002, '--rate', 20)
TASKS = {'noisy': 200, 'small-1': 10, 'small-2': 20, 'small-3': 30}
ORDERED = ('--accounts', 4, '--operations', 12, '--lease', 0.3, '--work', 0.005)
FEW = ('--processes', 2)  # for they take a while to start


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that is not the example's own; one kind is enough here."""
    with Server() as server:
        yield server


def count_keys(server: Server) -> int:
    with server.sync_client() as client:
        return int(client.dbsize())


def with_faults(name: str, folder: Path, *faults: tuple[str, str]) -> str:
    """A copy of an example with some of its text replaced; its name, as `run` takes it."""
    text = (ROOT / 'example' / f'{name}.py').read_text('utf-8')
    for right, wrong in faults:
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    (folder / f'{name}.py').write_text(text, 'utf-8')
    return str(folder / name)


def run_on_terminal(run: Run, name: str, *options: object, status: int = 0) -> str:
    master, slave = pty.openpty()
    example = run(name, *options, stdout=slave)
    os.close(slave)
    output = read_terminal(master)
    os.close(master)
    example.finish(status)
    assert example.errors == ''
    return output.replace('\r\n', '\n')


def find_numbers(pattern: str, text: str) -> list[int]:
    """What the groups of a pattern found, which has to be there once."""
    (found,) = re.findall(pattern, text, re.M)
    return [int(number.replace(',', '')) for number in ([found] if isinstance(found, str) else found)]


# Fair sharing


def check_fairness(output: str) -> None:
    """What was measured in the four acts is what the queue promises."""
    rows = re.findall(r'^(noisy|small-\d) +([\d,]+) +([\d,]+) +([\d,]+)$', output, re.M)
    table = [(name, *(int(figure.replace(',', '')) for figure in figures)) for name, *figures in rows]
    assert [name for name, *_ in table] == [*TASKS, *TASKS]

    # One plain list serves in the order of enqueueing.  In groups, each other tenant gets one for each of one's own.
    assert table[:4] == [
        (name, count, sum(list(TASKS.values())[: place + 1]), table[place][3])
        for place, (name, count) in enumerate(TASKS.items())
    ]
    for name, count, _, fair in table[:4]:
        assert fair <= sum(min(count, other) for other in TASKS.values()) + len(TASKS), name
    last = max(fair for name, _, _, fair in table[:4] if name != 'noisy')
    assert find_numbers(r'done after ([\d,]+) dequeues, not after ([\d,]+)\.$', output) == [last, 260]
    assert last <= 10 + 3 * 30 + 4 < table[0][3] == 260

    for name, most, in_work, slots in table[4:]:
        assert most == (4 if name == 'small-1' else 2)
        assert 1 <= in_work <= most
        assert 1 <= slots <= most

    (starts,) = re.findall(r'^starts in each second +(\d+(?:, \d+)*)$', output, re.M)
    assert sum(map(int, starts.split(', '))) == 60
    most, allowed = find_numbers(r'^most in any second +(\d+) of (\d+) that may be$', output)
    assert most <= allowed == 40

    (paused,) = find_numbers(r'^after (\d+) dequeues: paused$', output)
    (resumed,) = find_numbers(r'^after (\d+) dequeues: resumed$', output)
    noisy, others = find_numbers(r'^handed out in the pause +(\d+) of the noisy tenant, (\d+) of the others$', output)
    assert (noisy, others) == (0, resumed - paused)
    assert find_numbers(r'^done in the end +(\d+) of the noisy tenant, (\d+) more$', output) == [10, 30]
    assert re.findall('^The promise .*', output, re.M) == ['The promise was kept.'] * 4


def test_tenants_are_served_as_promised(run: Run) -> None:
    example = run('fair_sharing', *FAIR)
    server = server_of(example.wait_for(r'on (\S+);')[1])
    output = example.finish()
    check_fairness(output)
    # Each part of an act ends with a line that tells of all its tasks.
    for count in TASKS:
        assert f'{count} {TASKS[count]}/{TASKS[count]}' in output
    assert '\x1b' not in output
    assert example.errors == ''
    assert not is_alive(server)


@pytest.mark.long
def test_tenants_have_bars_on_a_terminal(run: Run) -> None:
    output = run_on_terminal(run, 'fair_sharing', *FAIR)
    check_fairness(output)
    frames = output.split('\x1b[4F\x1b[J')  # from one redrawing to the next
    assert len(frames) > 6
    for frame in frames:
        bars = re.findall(r'^(\S+) +\[(#*)(>*)(\.*)\] +(\d+) done +(\d+) in work +(\d+) waiting(.*)$', frame, re.M)
        # The last frame of a part is followed by the first of the next one.
        assert [name for name, *_ in bars] in ([*TASKS], [*TASKS, *TASKS])
        assert all(len(done + in_work + waiting) == 40 for _, done, in_work, waiting, *_ in bars)
    text = '\n'.join(frames)
    assert re.search(rf'^noisy +\[{"#" * 40}\] +200 done +0 in work +0 waiting$', text, re.M)
    assert re.search(r'^small-1 .* waiting  \d of 4 slots$', text, re.M)
    assert re.search(r'^noisy .* waiting  20 per 1 s$', text, re.M)
    assert re.search(r'^noisy .* waiting  \d of 2 slots  PAUSED$', text, re.M)


@pytest.mark.long
def test_promises_are_not_kept_without_groups_limits_rate_and_pause(run: Run, tmp_path: Path) -> None:
    faults = [
        ('for grouped in (False, True):', 'for grouped in (False, False):'),
        ('await queue.set_limit(concurrency=2)', 'await queue.set_limit()'),
        ('rate=(args.rate, 1.0)', 'rate=math.inf'),
        ('await queue.pause(NOISY)', 'await queue.resume(NOISY)'),
    ]
    example = run(with_faults('fair_sharing', tmp_path, *faults), *FAIR)
    output = example.finish(status=1)
    assert re.findall('^The promise .*', output, re.M) == ['The promise was NOT kept.'] * 4
    assert example.errors == ''


@pytest.mark.parametrize('number', [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_sharing_is_interrupted_without_a_trace(run: Run, server: Server, number: signal.Signals) -> None:
    example = run('fair_sharing', '--url', server.url)
    example.wait_for('noisy [1-9]')
    os.killpg(example.process.pid, number)
    assert example.finish().endswith('\n\nStopped.')
    assert example.errors == ''
    assert count_keys(server) == 0


# Strict order


def pids_of(example: Example) -> list[int]:
    return [int(pid) for pid in example.wait_for(r'processes \(([\d, ]+)\)')[1].split(', ')]


def read_accounts(output: str) -> list[tuple[int, int, list[str]]]:
    """Of each account the operations, the attempts, and the verdicts: in order, balances, one at a time."""
    rows = re.findall(r'^ +(\d+) +([\d,]+) +([\d,]+) +[\d,]+\.\d\d  (\w+) +(\w+) +(\w+)$', output, re.M)
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3], output
    return [(int(row[1]), int(row[2]), list(row[3:])) for row in rows]


def check_order(output: str, pids: list[int]) -> None:
    accounts = read_accounts(output)
    assert all(operations == 12 and verdicts == ['yes'] * 3 for operations, _, verdicts in accounts)

    operations, *shares = find_numbers(r'^operations +(\d+)   by process: (\d+), (\d+), (\d+), (\d+)$', output)
    retries, at_once, delayed = find_numbers(r'^retries +(\d+)   (\d+) at once, (\d+) after a delay$', output)
    over = find_numbers(r'^leases over +(\d+) ', output)[0]
    assert operations == sum(shares) == 48
    assert retries == at_once + delayed
    assert min(at_once, delayed) > 0
    # A retry that came too late is refused, because its lease is one of those that have run out.
    assert operations + over <= sum(attempts for _, attempts, _ in accounts) <= operations + retries + over
    # The lease of what was killed has run out, and that of what came too late, which was refused.
    assert find_numbers(r'^refused +(\d+) ', output)[0] >= 1
    assert over >= 2
    assert find_numbers(r'^killed +(\d+) ', output)[0] in pids
    assert output.endswith('\nThe proof holds.')


@pytest.mark.long
def test_operations_are_applied_once_and_in_order(run: Run) -> None:
    example = run('ordered', *ORDERED)
    server = server_of(example.wait_for(r'accounts on (\S+)')[1])
    pids = pids_of(example)
    output = example.finish()
    check_order(output, pids)
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in (server, *pids))


@pytest.mark.long
def test_order_is_lost_without_the_limit(run: Run, server: Server) -> None:
    options = (*ORDERED, *FEW, '--concurrency', 4, '--url', server.url)
    output = run_on_terminal(run, 'ordered', *options, status=1)
    live = output[output.index(')\n') + 2 : output.index('\n\n')]
    assert re.fullmatch(r'(\r\d+ of 48 operations done(, process \d+ killed)? *)+', live)
    accounts = read_accounts(output)
    # Each operation is applied once all the same.
    assert all(operations == 12 for operations, _, _ in accounts)
    assert any(verdicts[0] == 'NO' for _, _, verdicts in accounts)
    assert any(verdicts[2] == 'NO' for _, _, verdicts in accounts)
    assert output.endswith('\nThe proof FAILS.\n')
    assert count_keys(server) == 0


@pytest.mark.long
def test_an_operation_is_applied_twice_without_a_look_at_the_history(run: Run, tmp_path: Path) -> None:
    faulty = with_faults('ordered', tmp_path, ('if not is_in(history, number):\n', 'if True:\n'))
    output = run(faulty, *ORDERED, *FEW).finish(status=1)
    operations, _, verdicts = read_accounts(output)[0]
    assert operations >= 13
    assert verdicts == ['NO', 'NO', 'yes']
    assert output.endswith('\nThe proof FAILS.')


@pytest.mark.parametrize('number', [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_operations_are_interrupted_without_a_trace(run: Run, server: Server, number: signal.Signals) -> None:
    example = run('ordered', *FEW, '--url', server.url)
    pids = pids_of(example)
    example.wait_for('[1-9] of 1,200')
    os.killpg(example.process.pid, number)
    assert example.finish().endswith('\nStopped before the end; nothing is proven.')
    assert example.errors == ''
    assert not any(is_alive(pid) for pid in pids)
    assert count_keys(server) == 0


@pytest.mark.long
def test_workers_end_when_the_main_process_is_killed(run: Run) -> None:
    example = run('ordered', *FEW)
    server = server_of(example.wait_for(r'accounts on (\S+)')[1])
    guardian = int(Path(f'/proc/{server}/stat').read_text().rpartition(')')[2].split()[1])
    pids = pids_of(example)
    example.wait_for('[1-9] of 1,200')
    example.process.kill()
    for pid in (*pids, server, guardian):
        wait_end(pid)


@pytest.mark.long
def test_the_proof_is_not_made_when_all_workers_are_killed(run: Run, server: Server) -> None:
    example = run('ordered', *FEW, '--url', server.url)
    pids = pids_of(example)
    example.wait_for('[1-9] of 1,200')
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert 'proof' not in example.finish(status=1)
    assert re.fullmatch(r'All processes have ended, and [\d,]+ operations are left.\n', example.errors)
    assert count_keys(server) == 0

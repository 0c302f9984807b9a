"""The backend for the tasks of Django 6: what it promises, by Django's own names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from support.djangosite import fixtures
from support.servers import RealServer
from torrelque import TorrelqueTaskStatus
from torrelque.worker import ThreadWorker

pytest.importorskip('django.tasks', reason='tasks are of Django 6')

site = fixtures.site

pytestmark = [pytest.mark.usefixtures('site'), pytest.mark.one_server]

Start = Callable[..., Any]


@pytest.fixture
def backend(site: Any, server: RealServer) -> Iterator[Any]:
    from django.tasks import task_backends
    from django.test import override_settings

    ours = {'BACKEND': 'torrelque.contrib.django.Backend', 'QUEUES': ['default', 'mail']}
    tasks = {
        'default': {**ours, 'OPTIONS': {'url': server.url}},
        'tried': {**ours, 'OPTIONS': {'url': server.url, 'max_attempts': 3, 'result_ttl': 60}},
    }
    with override_settings(TASKS=tasks):
        yield task_backends['default']
        for alias in tasks:
            task_backends[alias].app.close()


@contextlib.contextmanager
def working(*backends: Any, **options: Any) -> Iterator[None]:
    with ThreadWorker([one.app for one in backends], **options):
        yield


def settle(backend: Any, result: Any) -> Any:
    """The result once it has one."""
    backend.app.call(_ended(backend, result.id))
    result.refresh()
    return result


async def _ended(backend: Any, task_id: str) -> None:
    for name in ('default', 'mail'):
        queue = backend.app.queue_named(name)
        with contextlib.suppress(LookupError):
            async for state in queue.watch(task_id, timeout=60):
                if state.status is TorrelqueTaskStatus.DEAD:
                    break


def test_it_supports_all_that_tasks_may_have(backend: Any) -> None:
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


def test_a_result_is_ready_then_successful(backend: Any) -> None:
    from django.tasks import TaskResultStatus

    from support.djangosite.tasks import add

    result = add.enqueue(1, b=[2])
    assert (result.status, result.args, result.kwargs) == (TaskResultStatus.READY, [1], {'b': [2]})
    assert (result.attempts, result.errors, result.is_finished) == (0, [], False)
    again = add.get_result(result.id)
    assert (again.status, again.task, again.args, again.kwargs) == (TaskResultStatus.READY, add, [1], {'b': [2]})
    assert abs(again.enqueued_at - result.enqueued_at) < timedelta(minutes=1)
    with working(backend):
        settle(backend, result)
    assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, [1, [2]])
    assert (result.attempts, result.errors, result.args, result.kwargs) == (1, [], [1], {'b': [2]})
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert result.worker_ids[0] != 'unknown'


def test_a_failed_task_has_its_error(backend: Any) -> None:
    from django.tasks import TaskResultStatus

    from support.djangosite.tasks import Broken, fail

    result = fail.enqueue('two\nlines')
    with working(backend):
        settle(backend, result)
    assert (result.status, result.attempts, result.is_finished) == (TaskResultStatus.FAILED, 1, True)
    [error] = result.errors
    assert error.exception_class is Broken
    assert 'in fail' in error.traceback
    assert error.traceback.rstrip().endswith('Broken: two\nlines')
    assert result.finished_at >= result.started_at
    with pytest.raises(ValueError, match='failed'):
        result.return_value  # noqa: B018 - it raises


def test_attempts_and_their_errors_are_counted(backend: Any) -> None:
    from django.tasks import TaskResultStatus, task_backends

    from support.djangosite.tasks import fail_twice

    tried = task_backends['tried']
    result = fail_twice.enqueue()
    with working(tried, retry=0.01):
        settle(tried, result)
    assert (result.status, result.return_value, result.attempts) == (TaskResultStatus.SUCCESSFUL, 3, 3)
    assert [error.exception_class for error in result.errors] == [ValueError, ValueError]
    assert result.worker_ids[:2] == ['unknown', 'unknown']


def test_a_coroutine_function_is_run(backend: Any) -> None:
    from support.djangosite.tasks import add_async

    async def view() -> Any:
        result = await add_async.aenqueue(1, 2)
        found = await add_async.aget_result(result.id)
        assert found.id == result.id
        return result

    result = asyncio.run(view())
    with working(backend):
        settle(backend, result)
    assert result.return_value == 3
    asyncio.run(result.arefresh())
    assert result.return_value == 3


def test_a_task_that_takes_its_context_has_it(backend: Any) -> None:
    from support.djangosite.tasks import tell, tell_async

    results = [tell.using(priority=7, queue_name='mail').enqueue('a'), tell_async.enqueue('b')]
    with working(backend):
        values = [settle(backend, result).return_value for result in results]
    assert values == [
        [results[0].id, 1, 'RUNNING', ['a'], 7, 'mail'],
        [results[1].id, 1, 'RUNNING', ['b'], 0, 'default'],
    ]


def test_a_task_runs_not_before_its_time(backend: Any) -> None:
    from django.tasks import TaskResultStatus

    from support.djangosite.tasks import add

    after = datetime.now(timezone.utc) + timedelta(hours=1)
    result = add.using(run_after=after).enqueue(1, 2)
    state = backend.app.call(backend.app.handle(result.id).state())
    assert state.status.name == 'DELAYED'
    assert abs(state.due_time - after.timestamp()) < 60
    found = add.get_result(result.id)
    assert (found.status, found.task.run_after) == (TaskResultStatus.READY, after)
    soon = add.using(run_after=datetime.now(timezone.utc) + timedelta(milliseconds=300)).enqueue(1, 2)
    with working(backend):
        assert settle(backend, soon).return_value == [1, 2]
    assert soon.started_at >= soon.task.run_after


def test_tasks_of_a_higher_priority_go_first(backend: Any) -> None:
    from support.djangosite import tasks

    tasks.told.clear()
    given = [0, -100, 100, 1, 99, -1]
    results = [tasks.note.using(priority=priority).enqueue(priority) for priority in given]
    with working(backend, concurrency=1):
        for result in results:
            settle(backend, result)
    assert tasks.told == sorted(given, reverse=True)
    assert [result.task.priority for result in results] == given


def test_a_task_is_in_the_queue_of_its_name(backend: Any) -> None:
    from support.djangosite.tasks import add

    add.using(queue_name='mail').enqueue(1, 2)

    async def count(name: str) -> Any:
        return (await backend.app.queue_named(name).get_queue_stats()).tasks

    assert [backend.app.call(count(name)) for name in ('default', 'mail')] == [0, 1]


@pytest.mark.parametrize(
    'changes',
    [{'queue_name': 'other'}, {'priority': 101}, {'priority': -101}, {'priority': 1.5}, {'run_after': 'naive'}],
)
def test_an_invalid_task_is_refused(backend: Any, changes: dict[str, Any]) -> None:
    from django.tasks.exceptions import InvalidTask

    from support.djangosite.tasks import add

    if 'run_after' in changes:
        changes = {'run_after': datetime.now() + timedelta(hours=1)}
    with pytest.raises(InvalidTask):
        add.using(**changes)


def test_a_function_inside_another_is_no_task(backend: Any) -> None:
    from django.tasks import task
    from django.tasks.exceptions import InvalidTask

    with pytest.raises(InvalidTask):
        task(lambda: None)

    def inside() -> None: ...

    with pytest.raises(InvalidTask):
        task(inside)


def test_arguments_and_results_that_json_has_not_are_refused(backend: Any) -> None:
    from django.tasks import TaskResultStatus

    from support.djangosite.tasks import add, give_object

    with pytest.raises(TypeError, match='Unsupported'):
        add.enqueue(1, b=object())
    with pytest.raises(TypeError, match='Unsupported'):
        add.enqueue(datetime.now())
    assert backend.app.call(lambda: backend.app.queue.get_queue_stats()).tasks == 0
    result = give_object.enqueue()
    with working(backend):
        settle(backend, result)
    assert result.status == TaskResultStatus.FAILED
    assert [error.exception_class for error in result.errors] == [TypeError]


def test_what_no_queue_knows_has_no_result(backend: Any) -> None:
    from django.tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch

    from support.djangosite.tasks import add, fail

    for missing in ('0' * 32, 'anything', ''):
        with pytest.raises(TaskResultDoesNotExist):
            backend.get_result(missing)
    with pytest.raises(TaskResultMismatch):
        fail.get_result(add.enqueue(1, 2).id)


def test_a_task_of_another_program_is_no_result(backend: Any) -> None:
    from django.tasks.exceptions import TaskResultDoesNotExist

    app = backend.app
    for payload in ({'n': 1}, {'task': 'not.there'}, 'text'):
        task_id = app.call(lambda payload=payload: app.queue.enqueue(payload))
        with pytest.raises(TaskResultDoesNotExist):
            backend.get_result(task_id)


def test_a_path_that_is_no_task_is_not_run(backend: Any) -> None:
    app = backend.app
    handles = [app.push(path, check=False) for path in ('support.djangosite.tasks.plain', 'os.getcwd')]
    with working(backend):
        for handle in handles:
            async def forgiven(handle: Any = handle) -> Any:
                async for state in handle.watch(60):
                    if state.forgiven:
                        return state
                return None

            state = app.call(forgiven())
            # Another version of the application may have it.
            assert state.status in (TorrelqueTaskStatus.PENDING, TorrelqueTaskStatus.DELAYED)


def test_signals_are_sent(backend: Any) -> None:
    from django.tasks import signals

    from support.djangosite.tasks import add, add_async, fail

    told: list[tuple[str, str, str]] = []

    def note(name: str) -> Any:
        def receive(sender: Any, task_result: Any, **_: Any) -> None:
            assert sender is type(backend)
            told.append((name, task_result.task.name, str(task_result.status)))

        return receive

    names = ('task_enqueued', 'task_started', 'task_finished')
    receivers = [(getattr(signals, name), note(name)) for name in names]
    for signal, receiver in receivers:
        signal.connect(receiver)
    try:
        results = [add.enqueue(1, 2), add_async.enqueue(1, 2), fail.enqueue('no')]
        with working(backend, concurrency=1):
            for result in results:
                settle(backend, result)
    finally:
        for signal, receiver in receivers:
            signal.disconnect(receiver)
    assert told[:3] == [('task_enqueued', name, 'READY') for name in ('add', 'add_async', 'fail')]
    assert sorted(told[3:]) == [
        ('task_finished', 'add', 'SUCCESSFUL'), ('task_finished', 'add_async', 'SUCCESSFUL'),
        ('task_finished', 'fail', 'FAILED'), ('task_started', 'add', 'RUNNING'),
        ('task_started', 'add_async', 'RUNNING'), ('task_started', 'fail', 'RUNNING'),
    ]  # fmt: skip


def test_results_are_kept_as_the_options_say(backend: Any) -> None:
    from django.tasks import task_backends

    from support.djangosite.tasks import add, fail_twice

    for alias, task, ttl in (('default', add, 86400), ('tried', fail_twice, 60)):
        one = task_backends[alias]
        result = task.enqueue(1, 2) if task is add else task.enqueue()
        with working(one, retry=0.01):
            settle(one, result)
        view = one.app.call(one._look(result.id))
        assert abs(view.kept_until - view.release_time - ttl) < 1


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        ({'ttl': 1}, "unknown option 'ttl'"),
        ({'result_ttl': 'a day'}, 'result_ttl'),
        ({'max_attempts': 0}, 'max_attempts'),
        ({'timeout': -1}, 'timeout'),
    ],
)
def test_options_that_cannot_be_meant_are_refused(site: Any, options: dict[str, Any], told: str) -> None:
    from django.core.checks import run_checks
    from django.tasks.exceptions import InvalidTaskBackend
    from django.test import override_settings

    tasks = {'default': {'BACKEND': 'torrelque.contrib.django.Backend', 'OPTIONS': options}}
    with override_settings(TASKS=tasks), pytest.raises(InvalidTaskBackend, match=told):
        run_checks()


def test_an_order_that_is_written_by_a_task_is_there(backend: Any) -> None:
    from support.djangosite.models import Order
    from support.djangosite.tasks import order, order_async

    results = [order.enqueue('a'), order_async.enqueue('b')]
    with working(backend):
        for result in results:
            settle(backend, result)
    assert sorted(Order.objects.values_list('name', flat=True)) == ['a', 'b']

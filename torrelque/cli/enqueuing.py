"""``torrelque enqueue``: a task, a call of a decorated function, or many tasks of standard input."""

import argparse
import difflib
import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from torrelque import (
    TorrelqueBulkError,
    TorrelqueDuplicateError,
    TorrelqueFullError,
    TorrelqueLookupError,
    TorrelqueQueue,
    TorrelqueTaskState,
    TorrelqueTaskStatus,
    TorrelqueTimeoutError,
)
from torrelque.operate import Operator

from . import target
from .answers import EndAnswer, EnqueueAnswer
from .consent import answer_act
from .failure import Exit, Failure
from .payloads import check_call, read_tasks
from .session import Session

MANY = 250
"""Tasks of one call, after which their ids are told."""


def enqueue(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code.

    :raises Failure: the task cannot be meant; nothing was enqueued.
    """
    _check(found)
    tasks = read_tasks(found)

    async def call(session: Session) -> int:
        try:
            return await _enqueue(session, tasks)
        except (TorrelqueDuplicateError, TorrelqueFullError) as exc:
            raise Failure(str(exc), Exit.ILL) from exc

    return answer_act(found, call, new=True)


def _check(found: argparse.Namespace) -> None:
    """Refuse options that do not go with each other."""
    check_call(found)
    if found.task is None and found.payload is None and not found.lines:
        raise Failure("there is nothing to enqueue: give a PAYLOAD as JSON, such as '{\"n\": 1}', or - or --task NAME")
    if found.lines and found.payload not in (None, '-'):
        raise Failure('--lines reads standard input, so PAYLOAD is - or nothing')
    if found.lines and (found.id is not None or found.wait is not None):
        raise Failure('--lines is for many tasks, which have ids of their own and are not waited for')


# How


async def _enqueue(session: Session, tasks: Sequence[Any]) -> int:
    found = session.found
    task_id: str
    if found.lines:
        return await _enqueue_lines(session, tasks)
    if found.task is not None and found.app is not None:
        task_id, queue = await _enqueue_by_app(session, tasks[0])
    else:
        queue = session.operator.queue()
        task_id = await queue.enqueue(tasks[0], task_id=found.id, **_given(found))
    what = f'task {task_id}' if found.task is None else f'task {task_id}, a call of {found.task}'
    await Operator(queue).record('enqueue', what, 1)
    if found.wait is None or not session.out.as_json:
        _tell_id(session, task_id, queue.name)
    return Exit.WELL if found.wait is None else await _wait(session, queue, task_id)


def _given(found: argparse.Namespace) -> dict[str, Any]:
    """The options of the queue's own verb."""
    given = {'group': found.group, 'priority': found.priority, 'delay': found.delay,
             'max_attempts': found.max_attempts, 'task_timeout': found.lease}  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


async def _enqueue_lines(session: Session, tasks: Sequence[Any]) -> int:
    found, queue, waiting, done = session.found, session.operator.queue(), iter(tasks), 0
    unheard: OSError | None = None

    def tell(ids: Sequence[str]) -> None:
        """Print ids.  Whoever reads no more of them has the other lines enqueued all the same."""
        nonlocal unheard
        try:
            for one in () if unheard else ids:
                _tell_id(session, one, queue.name)
        except OSError as exc:
            unheard = exc

    try:
        while some := [*islice(waiting, MANY)]:
            ids = await queue.enqueue_many(some, **_given(found))
            done += len(ids)
            tell(ids)
    except TorrelqueBulkError as exc:
        done += len(exc.task_ids)
        tell(exc.task_ids)
        raise Failure(f'the ids are those of the first {done} lines; the others are not enqueued: {exc.__cause__}',
                      Exit.ILL) from exc
    finally:
        if done:
            await session.operator.record('enqueue', f'{done} tasks', done, queue=queue.name)
    if unheard:
        session.out.tell(f'{done} tasks are enqueued, though nobody has read all of their ids')
        if not isinstance(unheard, BrokenPipeError):
            raise unheard
    return Exit.WELL if done else Exit.ILL


def find_caller(found: argparse.Namespace, **options: Any) -> Any:
    """The function of the user's app that is to be called, with the options of the call.

    :raises Failure: the app has none of this name.
    """
    functions = getattr(target.find(found.app), 'functions', {})
    if (function := functions.get(found.task)) is None:
        near = difflib.get_close_matches(found.task, [*functions], 1)
        more = f'; did you mean {near[0]!r}?' if near else ''
        raise Failure(f'--app {found.app} has no function {found.task!r}{more}')
    if found.queue and found.queue[-1] != function.queue_name:
        options['queue'] = found.queue[-1]
    return function.options(**options)


async def _enqueue_by_app(session: Session, call: dict[str, Any]) -> tuple[str, TorrelqueQueue]:
    """Have the app of the user enqueue a call, as its own code would."""
    found, app = session.found, target.find(session.found.app)
    caller = find_caller(found, task_id=found.id, **_given(found))
    # Its queue may be another one than those that this command is about.
    queue: TorrelqueQueue = next(one for one in app.queues if one.name == caller.queue_name)
    handle = await caller.enqueue(*call.get('args', ()), **call.get('kwargs', {}))
    return handle.id, queue


# What is told


def _tell_id(session: Session, task_id: str, queue: str) -> None:
    if session.out.as_json:
        session.out.json(EnqueueAnswer(queue=queue, id=task_id))
    else:
        session.out.line(task_id)


async def _wait(session: Session, queue: TorrelqueQueue, task_id: str) -> int:
    """Wait for the end of a task, and tell it."""
    last: TorrelqueTaskState | None = None
    try:
        async for last in queue.watch(task_id, timeout=session.found.wait):
            if last.status is TorrelqueTaskStatus.DEAD:
                break
        else:
            if last is not None and not last.status.isfinal():
                last = None  # it was finished after that, and nothing of it was kept
    except TorrelqueLookupError:
        pass  # it is finished, and nothing of it was kept
    except TorrelqueTimeoutError as exc:
        raise Failure(f'task {task_id} has not ended: {exc}', Exit.ILL) from exc
    status = TorrelqueTaskStatus.COMPLETED if last is None else last.status
    result, error = (None, None) if last is None else (last.result, last.error)
    # Another serialiser than JSON may make values that JSON has no words for.
    result = json.loads(json.dumps(result, default=repr))
    if session.out.as_json:
        session.out.json(EndAnswer(
            queue=queue.name, id=task_id, status=status.name.lower(), result=result, error=error
        ))  # fmt: skip
    elif status is TorrelqueTaskStatus.COMPLETED:
        session.out.line(json.dumps(result, ensure_ascii=False))
    if status is TorrelqueTaskStatus.COMPLETED:
        return Exit.WELL
    lines = (error or '').strip().splitlines()
    raise Failure(f'task {task_id} is {status.name.lower()}' + (f': {lines[-1]}' if lines else ''), Exit.ILL)

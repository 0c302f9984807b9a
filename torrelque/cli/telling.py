"""``torrelque show`` and ``torrelque watch``: one task."""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import redis.exceptions

from torrelque import TorrelqueLookupError, TorrelqueTaskState, TorrelqueTaskStatus
from torrelque.operate import TaskView

from . import reasons
from .consent import interruptible
from .failure import Exit
from .flows import flow_line, follow_flow, show_flow
from .listing import ALL, age, find_tasks, since_of, status_of
from .out import MOST, Column, Out, ago, number, shortened
from .session import Session, answer
from .timetable import tell_schedules

POLL = 0.5
"""s from one look at a task to the next, where the server does not let us wait for its changes."""
LARGE = 4_000_000
"""Bytes: of a longer payload nothing is shown that was not asked for."""
HISTORY = (
    Column('ATTEMPT', True), Column('BEGAN', rank=2, whole=True), Column('AFTER', True, rank=1),
    Column('ERROR', fold=True),
)  # fmt: skip


# All of a task


def show(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _show, several=True)


async def _show(session: Session) -> int:
    found, out = session.found, session.out
    code, shown = int(Exit.WELL), 0
    for task_id in found.ids:
        try:
            tasks = await find_tasks(session, task_id, ALL if found.payload or out.as_json else LARGE)
        except TorrelqueLookupError as exc:
            if not await tell_schedules(session, task_id) or out.as_json:
                out.tell(exc.args[0])
            code = Exit.ILL
            continue
        for task in tasks:
            if task.total is not None:
                if shown and not out.as_json and not found.mermaid:
                    out.line()
                shown += 1
                code = max(code, await show_flow(session, task))
                continue
            if found.mermaid:
                out.tell(f'{task_id!r} is no flow')
                code = Exit.ILL
                continue
            if out.as_json:
                out.json(task)
                continue
            if shown:
                out.line()
            shown += 1
            write_task(out, task, None if found.payload else MOST)
            if task.status is not None and not task.status.isfinal():
                out.line('why', 'bold')
                why = await session.operator.explain(task_id, queue=task.queue)
                reasons.write(session, why, task.server_time, task.queue, ' ')
    return code


def write_task(out: Out, task: TaskView, most: int | None) -> None:
    """All that is known of a task, but for why it does not run.

    :param most: characters of each text at the most; None is all.
    """
    out.line(task.id, 'bold')
    out.pairs([(f'  {name}', value) for name, value in facts(out, task)])
    data = task.as_json()
    for name in ('payload', 'result', 'progress'):
        value = data[name]
        if name == 'payload' and (value is None or most is None):
            # All of it is what was stored, of which the value may say less: numbers too large, fields that come twice.
            text = '' if task.raw is None else task.raw.decode('utf-8', 'backslashreplace')
        else:
            text = '' if value is None else pretty(value)
        if text:
            out.line(name, 'bold')
            out.block(text, most=most)
    if task.error:
        out.line('error', 'bold')
        out.block(task.error, most=None if most is None else 4 * most)
    if task.history:
        out.line('failed attempts', 'bold')
        out.table(HISTORY, [
            [number(it.number), out.when(it.started), ago(max(0.0, it.ended - it.started)), it.error or '-']
            for it in task.history
        ])  # fmt: skip


def pretty(value: Any) -> str:
    """A value as JSON has it, for people."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (RecursionError, ValueError):
        return 'a value that is nested too deeply, or has too many digits'


def facts(out: Out, task: TaskView) -> Iterator[tuple[str, str]]:
    """What is known of a task, each with its name."""
    now = task.server_time

    def instant(at: float) -> str:
        return f'{out.when(at)}, {ago(now - at)} ago' if at <= now else f'{out.when(at)}, in {ago(at - now)}'

    since = since_of(task)
    yield 'queue', task.queue
    yield 'status', status_of(task) + ('' if since is None else f' for {age(since, now)}')
    named = (
        ('place', task.place), ('at queue', task.away), ('of the flow', task.flow), ('function', task.function),
        ('group', task.group),
    )  # fmt: skip
    for name, value in named:
        if value is not None:
            yield name, value
    if task.priority:
        yield 'priority', number(task.priority)
    of = '' if task.max_attempts is None else f' of {number(task.max_attempts)}'
    more = f', of which {number(task.forgiven)} do not count' if task.forgiven else ''
    if task.attempt or task.size is not None or task.enqueue_time is not None:
        # Of a task that its flow alone tells of, they are not known.
        yield 'attempts', number(task.attempt) + of + more
    for name, at in (
        ('enqueued', task.enqueue_time), ('ready since', task.ready_since), ('taken', task.last_dequeue_time),
        ('came back', task.last_requeue_time), ('due', task.due), ('lease renewed', task.renewed),
        ('lease ends', task.lease_end), ('died', task.died), ('ended', task.release_time),
        ('kept until', task.kept_until),
    ):  # fmt: skip
        if at is not None:
            yield name, instant(at)
    if task.timeout is not None:
        yield 'leases of', ago(task.timeout)
    if task.worker is not None:
        yield 'worker', task.worker
    if task.size is not None:
        more = '; --payload shows it' if task.raw is None and task.payload is None else ''
        yield 'payload', f'{number(task.size)} bytes{more}'


# States as they come


def watch(found: argparse.Namespace) -> int:
    """Carry the command out; its exit code."""
    return answer(found, _watch, several=True)


async def _watch(session: Session) -> int:
    found, out = session.found, session.out
    first = await session.operator.task(found.id)
    last = None
    async with contextlib.aclosing(_until(_views(session, first), found.until)) as views:
        if first.total is not None and out.terminal and not out.as_json:
            last = await interruptible(follow_flow(session, views))
            if last is None:
                return Exit.INTERRUPTED
        else:
            last = await _write_states(out, views)
    if last is not None and last.status is not None and (is_until(last, found.until) or last.status.isfinal()):
        bad = last.status in (TorrelqueTaskStatus.REJECTED, TorrelqueTaskStatus.CANCELLED)
        return Exit.ILL if bad or not is_until(last, found.until) else Exit.WELL
    out.tell('it has ended, and nothing is kept of it')
    return Exit.WELL if found.until == 'final' else Exit.ILL


async def _write_states(out: Out, views: AsyncIterator[TaskView]) -> TaskView | None:
    """A line for each change; the last that was seen."""
    told: tuple[Any, ...] | None = None
    last = None
    async for last in views:
        if told != (told := (last.status, last.attempt, last.error, last.progress, last.left, last.dead)):
            if out.as_json:
                out.json(last)
            else:
                out.line(state_line(out, last) if last.total is None else flow_line(out, last))
    return last


async def _until(views: AsyncGenerator[TaskView, None], until: str) -> AsyncGenerator[TaskView, None]:
    """The task at each of its changes, up to its end, or to a status."""
    async with contextlib.aclosing(views):
        async for last in views:
            yield last
            if last.status is not None and (is_until(last, until) or last.status.isfinal()):
                return


def is_until(task: TaskView, until: str) -> bool:
    """Whether a task is what is waited for; of a flow, whether a task of it is dead, or has begun."""
    if task.status is None:
        return False
    if until == 'dead' and task.dead:
        return True
    return task.status.isfinal() if until == 'final' else task.status.name.lower() == until


async def _views(session: Session, last: TaskView) -> AsyncGenerator[TaskView, None]:
    """The task at each of its changes; or again and again, for a user of the server who may not wait for them."""
    try:
        async with contextlib.aclosing(session.operator.queue(last.queue).watch(last.id)) as states:
            async for state in states:
                last = await _look(session, last, state)
                yield last
        return
    except redis.exceptions.NoPermissionError:
        # It is looked at by turns, then.
        pass
    with contextlib.suppress(TorrelqueLookupError):
        while True:
            yield await session.operator.task(last.id, queue=last.queue)
            await asyncio.sleep(POLL)


async def _look(session: Session, last: TaskView, state: TorrelqueTaskState) -> TaskView:
    """The task as it is; where nothing is kept of it any more, as the state has it."""
    with contextlib.suppress(TorrelqueLookupError):
        return await session.operator.task(last.id, queue=last.queue)
    return dataclasses.replace(
        last, server_time=state.release_time or time.time(), status=state.status, place=None,
        attempt=state.dequeue_count, requeue_count=state.requeue_count, result=state.result, error=state.error,
        progress=state.progress, release_time=state.release_time, worker=None, due=None, lease_end=None, renewed=None,
        total=state.total, left=state.left, dead=state.dead, failed=state.failed,
    )  # fmt: skip


def state_line(out: Out, task: TaskView) -> str:
    """The line of a state."""
    words = [out.when(task.server_time), status_of(task)]
    if task.attempt:
        words.append(f'attempt {number(task.attempt)}')
    if task.worker is not None:
        words.append(f'worker {task.worker}')
    if task.due is not None:
        words.append(f'due in {ago(max(0.0, task.due - task.server_time))}')
    if task.progress is not None:
        words.append(f'progress {shortened(pretty(task.as_json()["progress"]), 200)}')
    if task.error_line:
        words.append(shortened(task.error_line, 400))
    return '  '.join(words)

"""Questions about a queue whose answers are put together of its parts; where it is in one place, it is asked alone."""

import heapq
import shlex
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from torrelque import TorrelqueLookupError, TorrelqueQueue
from torrelque.worker.places import server_of

from . import bulk, examining, explaining, faults, flows, grouping, merging, pages, standing
from .codes import CODES
from .flowing import Flows, FlowView
from .overview import read_figures
from .parts import AwayError, ask_parts, find_away, part_of, parts_of, read_cursor, seek, write_cursor
from .selection import Selection
from .values import AwayShard, ErrorGroup, Errors, Finding, Groups, GroupView, Page, Reason, TaskView

T = TypeVar('T')
K = TypeVar('K')

NAMED = 10
"""Ids and groups that are told of an error at the most."""
COUNTED = 100
"""Functions and groups whose share of an error is told at the most."""

# Tasks


async def read_page(
    queue: TorrelqueQueue, place: str, after: str | None, most: int, look: int, payload: int, newest_first: bool
) -> Page:
    """A page: of a queue of several parts, in one order where the place has one, else of one after the other."""
    if place.startswith('group:'):
        queue = await part_of(queue, group=place[6:] or None)
    parts = await parts_of(queue)
    if len(parts) == 1:
        return await pages.read_page(parts[0], place, after, most, look, payload, newest_first)
    ranked = merging.is_ranked(parts[0], place)
    read = merging.read if ranked else _read_in_turn
    found = await read(parts, place, after, most, look, payload, newest_first)
    counts, silent = await ask_parts(parts, lambda part: pages.count(part, place))
    return Page(
        queue=queue.name,
        place=place,
        server_time=max(now for now, _ in counts),
        tasks=tuple(found.tasks),
        cursor=found.cursor,
        total=sum(total for _, total in counts),
        looked_at=found.looked_at,
        broken=found.broken,
        away=tuple({shard.number: shard for shard in (*found.away, *silent)}.values()),
    )


async def _read_in_turn(
    parts: Sequence[TorrelqueQueue], place: str, after: str | None, most: int, look: int, payload: int,
    newest_first: bool,
) -> merging.Merged:  # fmt: skip
    """Tasks of one part after the other."""
    number, after = read_cursor(after, len(parts))
    found: list[TaskView] = []
    broken: list[str] = []
    away: list[AwayShard] = []
    looked_at = 0
    await find_away(parts)
    while number < len(parts) and len(found) < most and looked_at < look:
        try:
            page = await pages.read_page(
                parts[number], place, after, most - len(found), look - looked_at, payload, newest_first
            )
        except AwayError as exc:
            away.append(exc.away)
            number, after = number + 1, None
            continue
        found += page.tasks
        broken += [name for name in page.broken if name not in broken]
        looked_at += max(1, page.looked_at)
        after = page.cursor
        if after is None:
            number += 1
    cursor = write_cursor(number, after, len(parts))
    return merging.Merged(found, cursor, looked_at, tuple(broken), tuple(away))


async def find_task(queues: Sequence[TorrelqueQueue], task_id: str, payload: int) -> TaskView:
    """A task of the one queue that knows it.

    :raises TorrelqueLookupError: no queue knows it.
    :raises TorrelqueValueError: several know it.
    """
    holders: list[TorrelqueQueue] = []
    silent: AwayError | None = None
    for queue in queues:
        try:
            holders.append(await _holder(queue, task_id))
        except AwayError as exc:
            silent = exc
    try:
        return await pages.find_task(holders, task_id, payload)
    except TorrelqueLookupError:
        if silent is not None:
            # It may be there.
            raise silent from None
        raise


async def _holder(queue: TorrelqueQueue, task_id: str) -> TorrelqueQueue:
    """The part that knows a task; where none does, any."""
    parts = await parts_of(queue)
    if len(parts) == 1:
        return parts[0]

    async def find(part: TorrelqueQueue) -> TorrelqueQueue:
        [view] = await pages.read_tasks(part, [task_id], 0, function=False)
        if view.status is None and not view.broken:
            # Of one that has ended within a flow there is more to know.
            await part.get_task_state(task_id)
        return part

    try:
        return await seek(queue, task_id, find)
    except TorrelqueLookupError:
        return parts[0]


async def select(
    queues: Sequence[TorrelqueQueue], selection: Selection, payload: int, told: Callable[[int, int], None]
) -> AsyncIterator[TaskView]:
    """The tasks of a selection, of one part after the other, as `bulk.select` has them.

    :raises AwayError: behind all others, where a part has not answered.
    """
    silent: AwayError | None = None
    parts = [part for one in queues for part in await parts_of(one)]
    await find_away(parts)
    for part in parts:
        try:
            async for found in bulk.select(part, selection, payload, told):
                for task in found:
                    yield task
        except AwayError as exc:
            silent = exc
    if silent is not None:
        raise silent


# Groups


async def read_group(queue: TorrelqueQueue, name: str) -> GroupView:
    """One group, which is in one part."""
    return await grouping.read_group(await part_of(queue, group=name), name)


async def read_groups(queue: TorrelqueQueue, names: Sequence[str]) -> list[GroupView]:
    """Some groups by their names, in their order, of parts that answer."""
    if not names:
        return []
    by_part: dict[TorrelqueQueue, list[str]] = {}
    for name in names:
        by_part.setdefault(await part_of(queue, group=name), []).append(name)
    told, _ = await ask_parts([*by_part], lambda part: grouping.read_groups(part, by_part[part]))
    found = {view.name: view for some in told for view in some}
    return [found[name] for name in names if name in found]


async def survey(queue: TorrelqueQueue, by: str, most: int, pattern: str | None) -> Groups:
    """The first groups by a figure, of all parts."""
    parts = await parts_of(queue)
    if len(parts) == 1:
        return await grouping.survey(parts[0], by, most, pattern)
    found, away = await ask_parts(parts, lambda part: grouping.survey(part, by, most, pattern))
    groups = {view.name: view for one in found for view in one.groups}
    return Groups(
        queue=queue.name,
        server_time=found[0].server_time,
        took=max(one.took for one in found),
        groups=tuple(grouping.first(groups, by, most)),
        total=sum(one.total for one in found),
        broken=tuple(sorted({name for one in found for name in one.broken})),
        away=away,
    )


# Errors


async def read_errors(queue: TorrelqueQueue, most: int) -> Errors:
    """The errors of the newest so many tasks of each place, of each part its share, which is larger where others have
    fewer."""
    parts = await parts_of(queue)
    if len(parts) == 1:
        return await faults.read_errors(parts[0], most)
    figures, away = await ask_parts(parts, _with_part(read_figures))
    shares = share_out({part: max(one.dead, one.delayed) for part, one in figures}, most)
    found, silent = await ask_parts([*shares], lambda part: faults.read_errors(part, max(1, shares[part])))
    alike: dict[str, list[ErrorGroup]] = {}
    for one in found:
        for group in one.errors:
            alike.setdefault(group.fingerprint, []).append(group)
    groups = sorted(map(_together, alike.values()), key=lambda group: (-group.count, -group.last, group.fingerprint))
    return Errors(
        queue=queue.name,
        server_time=min(one.server_time for one in found),
        errors=tuple(groups),
        dead_seen=sum(one.dead_seen for one in found),
        dead=sum(one.dead for one in found),
        delayed_seen=sum(one.delayed_seen for one in found),
        delayed=sum(one.delayed for one in found),
        away=(*away, *silent),
    )


def share_out(wanted: Mapping[K, int], most: int) -> dict[K, int]:
    """How much each is given of what there is: as much as it wants, or as much as any other."""
    shares: dict[K, int] = {}
    for place, (key, want) in enumerate(sorted(wanted.items(), key=lambda pair: pair[1])):
        shares[key] = min(want, -(-(most - sum(shares.values())) // (len(wanted) - place)))
    return shares


def _with_part(read: Callable[[TorrelqueQueue], Awaitable[T]]) -> Callable[[TorrelqueQueue], Awaitable[Any]]:
    async def read_it(part: TorrelqueQueue) -> tuple[TorrelqueQueue, T]:
        return part, await read(part)

    return read_it


def _together(groups: list[ErrorGroup]) -> ErrorGroup:
    """Failures that are alike, of several parts."""
    groups.sort(key=lambda group: -group.last)
    return replace(
        groups[0],
        count=sum(group.count for group in groups),
        dead=sum(group.dead for group in groups),
        first=min(group.first for group in groups),
        functions=tuple(dict.fromkeys(name for group in groups for name in group.functions)),
        groups=tuple(dict.fromkeys(name for group in groups for name in group.groups))[:NAMED],
        attempts=(min(group.attempts[0] for group in groups), max(group.attempts[1] for group in groups)),
        ids=tuple(one for group in groups for one in group.ids)[:NAMED],
        by_function=_add(group.by_function for group in groups),
        by_group=_add(group.by_group for group in groups),
    )


def _add(several: Iterable[tuple[tuple[str | None, int], ...]]) -> tuple[tuple[str | None, int], ...]:
    counts: Counter[str | None] = Counter()
    for one in several:
        counts.update(dict(one))
    return tuple(heapq.nsmallest(COUNTED, counts.items(), key=lambda pair: -pair[1]))


# Flows


async def read_flows(queue: TorrelqueQueue, after: str | None, most: int) -> Flows:
    """The flows that have not ended: of a queue of several parts, those of one after the other."""
    parts = await parts_of(queue)
    if len(parts) == 1:
        return await flows.read_flows(parts[0], after, most)
    number, after = read_cursor(after, len(parts))
    found: list[Flows] = []
    while number < len(parts) and sum(one.seen for one in found) < most:
        try:
            one = await flows.read_flows(parts[number], after, most - sum(one.seen for one in found))
        except AwayError:
            # It is told of below.
            number, after = number + 1, None
            continue
        found.append(one)
        after = one.cursor
        if after is None:
            number += 1
    figures, away = await ask_parts(parts, read_figures)
    return Flows(
        queue=queue.name,
        server_time=max(one.now for one in figures),
        flows=tuple(flow for one in found for flow in one.flows),
        seen=sum(one.seen for one in found),
        total=sum(one.waiting for one in figures),
        cursor=write_cursor(number, after, len(parts)),
        broken=tuple(sorted({name for one in found for name in one.broken})),
        away=away,
    )


async def read_flow(queue: TorrelqueQueue, flow_id: str, after: str | None, most: int, edges: int) -> FlowView:
    """A flow, which is in one part."""
    return await seek(queue, flow_id, lambda part: flows.read_flow(part, flow_id, after, most, edges))


async def read_stalled(queue: TorrelqueQueue) -> list[Finding]:
    """What is the matter with flows, of the parts that answer."""
    found, _ = await ask_parts(await parts_of(queue), standing.read_stalled)
    return [finding for some in found for finding in some]


# What is the matter


async def explain(queue: TorrelqueQueue, task_id: str | None, group: str | None) -> list[Reason]:
    """Reasons, the decisive one first; [] where a claim made now would give the task, or one of the group or queue."""
    if group is not None:
        return await explaining.explain(await part_of(queue, group=group), None, group)
    parts = await parts_of(queue)
    if task_id is not None:
        first = await part_of(queue, task_id)
        await find_away(parts)
        told: list[Reason] = []
        silent = None
        for part in [first, *(part for part in parts if part is not first)]:
            try:
                found = await explaining.explain(part, task_id, None)
            except AwayError as exc:
                silent = exc
                continue
            if not found or found[0].code != 'unknown':
                return found
            told = told or found
        if silent is not None:
            # It may be there.
            raise silent
        return told
    whole, _ = await ask_parts(parts, lambda part: explaining.explain(part, None, None))
    return _of_parts(whole)


def _of_parts(told: Sequence[list[Reason]]) -> list[Reason]:
    """Why none of the parts of a queue moves; what several say alike is said once, and added up."""
    if not all(told):
        return []
    if len(told) == 1:
        return told[0]
    found: dict[str, list[Reason]] = {}
    for reasons in told:
        for reason in reasons:
            found.setdefault(reason.code, []).append(reason)
    if len(found) > 1:
        # Others have nothing pending.
        found.pop('unknown', None)
    whole = [same[0] if len(same) == 1 else _alike(same) for same in found.values()]
    return sorted(whole, key=lambda reason: CODES.index(reason.code))


def _alike(reasons: Sequence[Reason]) -> Reason:
    counts = [reason.count for reason in reasons if reason.count is not None]
    longest = max(reasons, key=lambda reason: reason.count or 0)
    # Workers are those of the whole queue, whichever part was looked at.
    count = None if not counts else max(counts) if longest.workers else sum(counts)
    since = min((r.since for r in reasons if r.since), default=None)
    if count is not None and all(map(explaining.is_of_none, reasons)):
        until = min((r.until for r in reasons if r.until), default=None)
        return replace(longest, text=explaining.of_none(longest.code, count), count=count, since=since, until=until)
    shown = longest.text if len({reason.text for reason in reasons}) == 1 else f'{longest.text} (and in other shards)'
    return replace(longest, text=shown, count=count, since=since)


def _with_servers(told: Sequence[tuple[str, list[Finding]]]) -> list[Finding]:
    """What was found of parts at some servers, and at which; of what is well, such as a figure, one for each server."""
    where: dict[tuple[str, str, str], set[str]] = {}
    kept: list[Finding] = []
    seen: set[tuple[str, ...]] = set()
    for server, some in told:
        for finding in some:
            what = finding.level, finding.subject, finding.text
            key = (server, finding.subject) if finding.level == 'ok' else (server, *what)
            if key not in seen:
                seen.add(key)
                kept.append(finding)
                where.setdefault(what, set()).add(server)
    servers = {server for server, _ in told}
    found: list[Finding] = []
    for finding in kept:
        its = where[finding.level, finding.subject, finding.text]
        at = '' if its == servers else f', at {", ".join(sorted(its))}'
        found.append(replace(finding, text=finding.text + at))
    return found


async def examine(queue: TorrelqueQueue) -> list[Finding]:
    """What was found, the gravest first; what is so in several parts is said once, with the servers where that is so if
    it is not at all of them, and which of them are away."""
    parts = await parts_of(queue)
    if len(parts) == 1:
        return await examining.examine(parts[0])
    told, away = await ask_parts(parts, _with_part(examining.examine))
    found = _with_servers([(server_of(part), some) for part, some in told])
    for shard in away:
        advice = f'look at its server: torrelque shards -q {shlex.quote(queue.name)}'
        found.append(Finding(queue.name, 'error', 'shards', f'{shard} is away: {shard.why}', advice))
    unique: dict[tuple[str, str, str], Finding] = {}
    for finding in found:
        unique.setdefault((finding.level, finding.subject, finding.text), finding)
    bad = any(finding.level in ('error', 'warning') for finding in unique.values())
    fine = [finding for finding in unique.values() if not (bad and (finding.level, finding.subject) == ('ok', 'queue'))]
    return sorted(fine, key=lambda finding: examining.LEVELS.index(finding.level))

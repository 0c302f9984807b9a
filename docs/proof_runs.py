"""Write the page on the runs of the proof from their record.

    python docs/proof_runs.py [FILE]

The record is `docs/proof/runs.jsonl`; `python -m proof.record` adds to it.  A test has the page written into a file of
its own, and compares.  It goes by the record and by the goals alone, so a change of the package leaves it as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / 'test')]

from proof.record.campaign import Campaign  # noqa: E402 - it is found now
from proof.record.campaigns import CAMPAIGNS  # noqa: E402
from proof.record.part import Part, Record, Tally, spans  # noqa: E402

PAGE = HERE / 'proof-runs.md'
HEAD = """# Runs of the proof

What has been run of each layer of the [proof](reliability.md) in full, part by part. This page is made by `python
docs/proof_runs.py` from `docs/proof/runs.jsonl`, to which each run of `tox -e proof` adds its lines; how one is run is
told in [Reliability](reliability.md#in-parts).
"""
PICTURE = """
```{image} image/runs-light.svg
:class: only-light
:alt: How much of its goal each layer of the proof has reached; the table below has the figures.
```

```{image} image/runs-dark.svg
:class: only-dark
:alt: How much of its goal each layer of the proof has reached; the table below has the figures.
```
"""
TITLES = {
    'seeds': 'seeds', 'rows': 'rows', 'faults': 'faults', 'tasks': 'tasks', 'steps': 'steps', 'handouts': 'hand-outs',
    'by_workers': 'of them to workers', 'unknown': 'unknown outcomes', 'damaged': 'damaged tasks', 'losses': 'lost',
    'twice': 'handed out twice', 'over_10_ms': 'scripts over 10 ms', 'handed_out': 'handed out',
    'lost_confirmed': 'confirmed and lost', 'again': 'handed out again', 'steps_of_flows': 'steps of flows',
    'hangs': 'caught by a test that stands still',
}  # fmt: skip
ZEROS = ('losses', 'lost', 'twice', 'lost_confirmed', 'survived')
"""Figures that are told though they are 0."""


def newest_tree(record: Record) -> str:
    """The package of the newest part."""
    return record.parts[-1].tree if record.parts else ''


def tallies(record: Record, campaign: Campaign) -> tuple[Tally, Tally]:
    """What all parts of a campaign came to, and those with the newest package."""
    parts, newest = record.of(campaign.name), newest_tree(record)
    return Tally(parts), Tally(part for part in parts if part.tree == newest)


def name_of(campaign: Campaign, goal: str) -> str:
    """What is counted: seeds have other names in some layers."""
    return getattr(campaign, 'unit', goal) if goal == 'seeds' else goal


def told(campaign: Campaign, tally: Tally, goals: Sequence[str]) -> str:
    """The figures of a campaign, those of its goals first."""
    said = [f'{tally.reached(goal):,} {name_of(campaign, goal)}' for goal in goals]
    for name, count in tally.counts.items():
        if name not in goals and (count or name in ZEROS):
            said.append(f'{count:,} {TITLES.get(name, name.replace("_", " "))}')
    return ', '.join(said)


def table(record: Record) -> Iterator[str]:
    yield '| campaign | what | goal | done | share | of it with the newest package | found | mended | last |'
    yield '|---|---|---|---|---|---|---|---|---|'
    for campaign in CAMPAIGNS:
        parts = record.of(campaign.name)
        tally, present = tallies(record, campaign)
        goals = campaign.goals_of(tally)
        goal = [f'{many:,} {name_of(campaign, name)}' if many else f'all {name}' for name, many in goals.items()]
        cells = [f'`{campaign.name}`', campaign.about, ', '.join(goal)]
        if parts:
            found, mended = record.finds(parts)
            shares = [f'{one.share(goals):.0%}' for one in (tally, present)]
            cells += [told(campaign, tally, [*goals]), *shares, str(found), str(mended), parts[-1].when[:10]]
        else:
            cells += ['', '0%', '', '', '', '']
        yield f'| {" | ".join(cells)} |'


def finds(record: Record) -> Iterator[str]:
    """What was found, with what became of it."""
    for part in record.parts:
        verdict = record.verdicts.get(part.id)
        for what in part.found:
            became = 'not mended yet'
            if verdict:
                became = f'mended in {verdict.mended}' if verdict.mended else f'no fault of the queue: {verdict.why}'
            yield f'- `{part.id}`, commit {part.commit or "unknown"}: `{what.replace("`", "")}`: {became}.'


def days(record: Record) -> Iterator[list[Part]]:
    """Parts of one campaign, day and package, on the same Python and processors, together."""
    groups: dict[tuple[str, ...], list[Part]] = {}
    for part in record.parts:
        where = (str(part.on.get(name)) for name in ('python', 'redis-py', 'processor', 'processors'))
        groups.setdefault((part.when[:10], part.campaign, part.tree, *where), []).append(part)
    yield from groups.values()


def what_was_run(campaign: Campaign | None, parts: Sequence[Part]) -> str:
    keys = Tally(parts).keys
    cut = sum(part.cut for part in parts)
    ended = (f' in {len(parts)} parts' if len(parts) > 1 else '') + (f', {cut} cut off' if cut else '')
    if rows := sum(isinstance(key, str) for key in keys):
        return f'{rows} of {parts[-1].of} rows{ended}'
    unit = name_of(campaign, 'seeds') if campaign else 'seeds'
    named = [f'{first} to {last}' if first != last else str(first) for first, last in spans(keys)]
    return f'{"seeds" if unit == "steps" else unit} {", ".join(named)}{ended}'


def where(parts: Sequence[Part]) -> str:
    on = parts[-1].on
    servers = {f'{kind.rstrip("0123456789").capitalize()} {version}' for part in parts
               for kind, version in part.on['servers'].items()}  # fmt: skip
    loads = sorted(part.on['load'] for part in parts)
    busy = f'{loads[0]:g}' if loads[0] == loads[-1] else f'{loads[0]:g} to {loads[-1]:g}'
    told = [*sorted(servers), f'Python {on["python"]}', f'redis-py {on["redis-py"]}']
    return f'{", ".join(told)}; {on["processors"]} of {on["processor"]}, load before {busy}'


def runs(record: Record) -> Iterator[str]:
    named = {campaign.name: campaign for campaign in CAMPAIGNS}
    yield '| when (UTC) | campaign | what | came to | minutes | found | package | commit | on |'
    yield '|---|---|---|---|---|---|---|---|---|'
    for parts in days(record):
        campaign, tally = named.get(parts[0].campaign), Tally(parts)
        came = told(campaign, tally, ()) if campaign else ''
        minutes = sum(part.seconds for part in parts) / 60
        commits = ', '.join(dict.fromkeys(part.commit for part in parts))
        cells = (
            f'{parts[0].when[:16].replace("T", " ")}', f'`{parts[0].campaign}`', what_was_run(campaign, parts), came,
            f'{minutes:.0f}', str(sum(len(part.found) for part in parts)), parts[0].tree, commits, where(parts),
        )  # fmt: skip
        yield f'| {" | ".join(cells)} |'


def write(record: Record) -> str:
    """The page."""
    parts = record.parts
    if not parts:
        return f'{HEAD}\nNothing has been run yet.\n'
    hours = sum(part.seconds for part in parts) / 3600
    trees = len({part.tree for part in parts})
    found, mended = record.finds(parts)
    said = (
        f'\n{len(parts):,} parts, {hours:.1f} hours, from {parts[0].when[:10]} to {parts[-1].when[:10]}, with {trees} '
        f'{"states" if trees > 1 else "state"} of the package; the newest is `{newest_tree(record)}`, a hash of its '
        f'sources. {found:,} things were found, {mended:,} of them are mended: faults of the queue, and mutants that '
        'the tests which they name do not see, so that it is these that are mended.\n'
    )
    listed = '\n'.join(finds(record)) or 'Nothing.'
    return (
        f'{HEAD}{said}{PICTURE}\n{lines(table(record))}\nEach seed and row counts once, however often it was run. What '
        'was cut off counts as far as it is sure.\n\n'
        f'## What was found\n\n{listed}\n\n## The parts\n\nThose of one campaign, day and package together.\n\n'
        f'{lines(runs(record))}'
    )  # fmt: skip


def lines(said: Iterable[str]) -> str:
    return ''.join(f'{line}\n' for line in said)


def main() -> None:
    """Write the page, into another file where one is named."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(write(Record()), 'utf-8')


if __name__ == '__main__':
    main()

"""The next parts of the proof in full, and what they came to.

    python -m proof.record --list
    python -m proof.record --minutes 55
    python -m proof.record --only mutants chaos --minutes 30 --at-once 2
    python -m proof.record --mended 'chaos 2026-11-30T15:00:00Z' 0123abcd

What is run is added to docs/proof/runs.jsonl, from which `python docs/proof_runs.py` makes a page.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence

from proof.record.campaign import Rows
from proof.record.campaigns import CAMPAIGNS
from proof.record.here import Here
from proof.record.part import Record, Tally, Verdict, hash_tree
from proof.record.running import Result, by_need, go_on

TAIL = 12
"""Lines of the output of a part that came to nothing."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='proof.record', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [campaign.name for campaign in CAMPAIGNS]
    parser.add_argument('--list', action='store_true', help='what is reached of each goal, and run nothing')
    parser.add_argument('--only', nargs='+', metavar='NAME', help='these campaigns alone')
    parser.add_argument('--minutes', type=float, default=55.0, help='until then all has ended (55)')
    parser.add_argument('--at-once', type=int, default=1, help='so many campaigns (1)')
    parser.add_argument('--pythons', nargs='+', default=[], metavar='PATH', help='more interpreters, with test extras')
    parser.add_argument('--mended', nargs=2, metavar=('PART', 'COMMIT'), help='say which commit mended a find')
    parser.add_argument('--no-fault', nargs=2, metavar=('PART', 'WHY'), help='say that it was no fault of the queue')
    options = parser.parse_args(arguments)
    if unknown := {*(options.only or ())} - {*names}:
        parser.error(f'no such campaign: {", ".join(sorted(unknown))}; there are {", ".join(names)}')
    return options


def show(record: Record, here: Here, tree: str) -> None:
    """What is reached of each goal, least first."""
    for campaign in by_need(CAMPAIGNS, record, tree):
        parts = record.of(campaign.name)
        tally, present = Tally(parts), Tally(part for part in parts if part.tree == tree)
        goals = campaign.goals_of(tally)
        if isinstance(campaign, Rows):
            # Those that there are by now.
            goals = {'rows': len(campaign.names())}
        reached = ', '.join(f'{tally.reached(goal):,} of {most:,} {goal}' for goal, most in goals.items())
        found, mended = record.finds(parts)
        missing = f'; cannot be run here: {lacking}' if (lacking := campaign.missing(here)) else ''
        print(
            f'{campaign.name:22} {tally.share(goals):4.0%}, {present.share(goals):4.0%} of this tree; {reached}; '
            f'{found} found, {mended} mended{missing}'
        )


def tell(result: Result) -> None:
    """A line on what became of a part."""
    name, part = result.order.campaign.name, result.part
    if part is None:
        print(f'{name}: nothing is sure', *result.output.splitlines()[-TAIL:], sep='\n  ', flush=True)
        return
    what = f'seeds {part.seeds[0]} to {part.seeds[1]}' if part.seeds else f'{len(part.rows)} rows'
    cut = ', cut off' if part.cut else ''
    print(f'{name}: {what} in {part.seconds:.0f} s{cut}, {len(part.found)} found', *part.found, sep='\n  ', flush=True)
    if part.found:
        with tempfile.NamedTemporaryFile('w', prefix=f'found-{name}-', suffix='.log', delete=False) as file:
            file.write(result.output)
        print(f'  all that it said: {file.name}', flush=True)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    record = Record()
    if given := options.mended or options.no_fault:
        about, text = given
        if about not in {part.id for part in record.parts if part.found}:
            print(f'no part {about} has found anything')
            return 2
        record.add(Verdict(about, mended=text) if options.mended else Verdict(about, why=text))
        return 0
    here = Here(options.pythons)
    if options.list:
        show(record, here, hash_tree())
        return 0
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    chosen = [campaign for campaign in CAMPAIGNS if not options.only or campaign.name in options.only]
    before = len(record.parts)
    failed = go_on(chosen, record, here, options.minutes, at_once=options.at_once, over=over, tell=tell)
    parts = record.parts[before:]
    print(f'{len(parts)} parts, {record.finds(parts)[0]} found; python docs/proof_runs.py makes the page')
    for campaign in failed:
        print(f'{campaign.name} could not be run', file=sys.stderr)
    return 2 if failed else int(any(part.found for part in parts))

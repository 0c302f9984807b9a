"""Chaos of applications: what serves them, and where, is drawn by the seed, as are the faults.

    python -m proof.chaos.apps --seeds 10 --first 1 --seconds 8 --server valkey9 --places one,three

One seed is replayed by `--first SEED --seeds 1`; `--judge FOLDER` judges the journals of a run again, which are kept
where it has found something.  The last line has the figures, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from proof.chaos.apps.journal import read_lines
from proof.chaos.apps.judge import check_tale
from proof.chaos.apps.places import PLACES, open_site
from proof.chaos.apps.round import Round
from proof.chaos.apps.tale import Tale
from proof.chaos.home import close_home, make_home
from proof.layers import in_time


async def run_seed(
    kind: str, place: str, seed: int, seconds: float, keep: Path, ways: tuple[str, ...] = ()
) -> Round:
    """One seed; what was written down stays where it has found something."""
    where = make_home('apps', seed, keep)
    async with open_site(place, kind) as site:
        found = Round(site, seed, seconds, where, ways)
        await found.run()
    close_home(where, found.found)
    return found


async def run_seeds(options: argparse.Namespace) -> tuple[Counter[str], Counter[str], int]:
    """Seed after seed."""
    counts: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    found, kinds, places = 0, options.server.split(','), options.places.split(',')
    ways = tuple(filter(None, options.ways.split(',')))
    for seed in in_time(range(options.first, options.first + options.seeds), options.until):
        place = places[seed % len(places)]
        kind = kinds[seed // len(places) % len(kinds)]
        one = await run_seed(kind, place, seed, options.seconds, options.keep, ways)
        counts += one.counts
        faults += one.site.counts
        found += len(one.found)
        said = {**one.counts, 'faults': sum(one.site.counts.values()), 'faults_found': len(one.found)}
        print(*one.late, f'seed {seed} {kind} {place} {json.dumps(said)}', sep='\n', flush=True)
    return counts, faults, found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--seeds', type=int, default=10)
    parser.add_argument('--first', type=int, default=1, help='the first seed')
    parser.add_argument('--seconds', type=float, default=8.0, help='of faults, for each seed')
    parser.add_argument('--until', type=float, help='s after which no further seed begins')
    parser.add_argument('--server', default='valkey9', help='a kind, or some by turns: valkey9,redis6')
    parser.add_argument('--places', default=','.join(PLACES), help='where, by turns')
    parser.add_argument('--ways', default='', help='how the application is served; drawn by the seed, if not given')
    parser.add_argument('--keep', type=Path, default=Path(tempfile.gettempdir()), help='where journals are kept')
    parser.add_argument('--judge', type=Path, help='judge these journals, and run nothing')
    return parser.parse_args(arguments)


def main(options: argparse.Namespace) -> int:
    """Run it, and print the figures."""
    if options.judge:
        faults = check_tale(Tale(read_lines(options.judge / 'journals')))
        print(*faults, f'{len(faults)} faults found', sep='\n')
        return 1 if faults else 0
    # Ended from outside, it takes its processes along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    logging.getLogger('torrelque').addHandler(logging.NullHandler())
    counts, kinds, found = asyncio.run(run_seeds(options))
    figures = {**counts, 'faults': sum(kinds.values()), 'faults_by_kind': dict(kinds.most_common())}
    print(json.dumps({**figures, 'faults_found': found}))
    return 1 if found else 0

"""The command line: ``python -m proof.fuzz TARGET --minutes 60 --corpus DIR``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

from proof.fuzz.run import fuzz, merge
from proof.fuzz.targets import TARGETS, kept, replay


def main() -> int:
    """Fuzz, merge or replay; the last line has the figures."""
    parser = argparse.ArgumentParser(description='Fuzz what reads what others have written.')
    parser.add_argument('targets', nargs='*', metavar='TARGET', help=f'all by default; of {", ".join(TARGETS)}')
    parser.add_argument('--minutes', type=float, default=60.0, help='of each target')
    parser.add_argument('--corpus', type=Path, help='where inputs are kept, in a folder for each target')
    parser.add_argument('--merge', action='store_true', help='make the corpus in the repository of what is there')
    parser.add_argument('--replay', action='store_true', help='run the corpus in the repository, without atheris')
    options = parser.parse_args()
    if unknown := {*options.targets} - TARGETS.keys():
        parser.error(f'there is no target {min(unknown)}')
    names = options.targets or [*TARGETS]
    if options.replay:
        logging.disable(logging.CRITICAL)
        for name in names:
            some = kept(name)
            print(json.dumps({'target': name, 'inputs': len(some), 'steps': replay(name, some)}), flush=True)
        return 0
    folder = options.corpus or Path(tempfile.mkdtemp(prefix='torrelque-fuzz-'))
    found = 0
    for name in names:
        if options.merge:
            inputs, size = merge(name, [folder / name])
            print(json.dumps({'target': name, 'inputs': inputs, 'bytes': size}), flush=True)
            continue
        figures = fuzz(name, options.minutes, folder / name)
        found += figures['found']
        print(json.dumps(figures), flush=True)
    return int(found > 0)


if __name__ == '__main__':
    sys.exit(main())

"""Runs targets on atheris, in a process of their own, and says what came out as JSON; merges and packs corpora."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from proof.fuzz.targets import CORPUS, TARGETS, kept, pack

_STATUS = re.compile(r'#(\d+)\s.*?\bcov: (\d+) ft: (\d+) corp: (\d+)/')
SEEDS = 100
MEMORY_MB = 2048
SILENCE = 60
"""s that one input may take before it counts as one that hangs: a bound of a last resort, since steps are counted
when a
corpus is replayed."""


def fuzz(name: str, minutes: float, folder: Path) -> dict[str, Any]:
    """Run a target for so long; what came out."""
    folder.mkdir(parents=True, exist_ok=True)
    faults = folder.with_name(f'{folder.name}-found')
    faults.mkdir(exist_ok=True)
    write(folder, [*kept(name), *seeds(name)])
    start = time.monotonic()
    # Short inputs first, as it would have them, reach nothing that is behind a choice or two.
    limits = [f'-max_total_time={round(minutes * 60)}', f'-max_len={TARGETS[name].longest}', '-len_control=0']
    text, code = _call(name, faults, [*limits, str(folder)])
    seen = [match.groups() for match in _STATUS.finditer(text)]
    last = seen[-1] if seen else ('0', '0', '0', '0')
    executed = re.search(r'stat::number_of_executed_units:\s*(\d+)', text)
    kinds = sorted(path.stem for path in faults.glob('*.bin'))
    return {
        'target': name,
        'executions': int(executed[1]) if executed else int(last[0]),
        'minutes': round((time.monotonic() - start) / 60, 1),
        'edges': int(last[1]),
        'features': int(last[2]),
        'corpus': len([*folder.iterdir()]),
        'hung': code != 0,
        'found': len(kinds) + (code != 0),
        'kinds': kinds,
    }


def merge(name: str, folders: list[Path]) -> tuple[int, int]:
    """Make the corpus in the repository of what is in folders, without what adds nothing; its inputs and bytes."""
    with tempfile.TemporaryDirectory() as place:
        merged, old = Path(place) / 'merged', Path(place) / 'old'
        merged.mkdir()
        old.mkdir()
        write(old, kept(name))
        _call(name, Path(place), ['-set_cover_merge=1', f'-max_len={TARGETS[name].longest}', *map(str, (merged, old,
            *folders))])
        inputs = [path.read_bytes() for path in merged.iterdir()]
    text = pack(inputs)
    (CORPUS / f'{name}.txt').write_text(text, 'ascii')
    return len(inputs), len(text)


def seeds(name: str) -> list[bytes]:
    """Inputs to begin with, by chance, and the same each time."""
    chance = random.Random(name)
    return [chance.randbytes(chance.randrange(1, TARGETS[name].longest)) for _ in range(SEEDS)]


def write(folder: Path, inputs: list[bytes]) -> None:
    """Inputs as files."""
    for number, data in enumerate(inputs):
        (folder / f'given-{number:04}').write_bytes(data)


def _call(name: str, folder: Path, options: list[str]) -> tuple[str, int]:
    words = [sys.executable, '-m', 'proof.fuzz.child', name, str(folder)]
    again = folder / 'again'
    again.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    again.chmod(0o755)
    limits = [f'-timeout={SILENCE}', f'-rss_limit_mb={MEMORY_MB}', '-print_final_stats=1', '-verbosity=1']
    log = folder / 'log.txt'
    with log.open('wb') as out:
        done = subprocess.run(
            [*words, *limits, f'-artifact_prefix={folder}/', *options], stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONHASHSEED': '0'}, check=False,
        )  # fmt: skip
    return log.read_text('utf-8', 'replace'), done.returncode

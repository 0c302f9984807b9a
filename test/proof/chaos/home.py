"""Where a seed writes down what happens in it: kept where something was found, and removed where nothing was."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path


def make_home(layer: str, seed: int, keep: Path | None) -> Path:
    """A directory of its own, in the one for what is kept, or in that of the system for temporary ones."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f'{layer}-{seed}-', dir=keep))


def close_home(where: Path, faults: Sequence[object]) -> None:
    """Keep it, with the faults that were found, and print the first of them; or remove it."""
    if faults:
        (where / 'found').write_text('\n'.join(map(str, faults)))
        print(f'{len(faults)} faults found, see {where}', *faults[:8], sep='\n')
    else:
        shutil.rmtree(where)

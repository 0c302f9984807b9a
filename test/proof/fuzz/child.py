"""What atheris runs: a target with our modules instrumented.  Faults are written down, each kind once, and it goes
on."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import traceback
from pathlib import Path

import atheris

from proof.fuzz.feed import Feed
from proof.fuzz.targets import COUNTED, find


class Watched:
    """A target whose faults do not end it."""

    def __init__(self, name: str, folder: Path) -> None:
        # What is imported in a function, later, is instrumented as well.
        self._imports = atheris.instrument_imports(include=[*COUNTED])
        self._imports.__enter__()
        self._target = find(name)
        # What is imported and made once is no part of the first input.
        self._target(Feed(b''))
        self._folder = folder
        self._seen: dict[str, int] = {}

    def __call__(self, data: bytes) -> None:
        """Run it on bytes."""
        try:
            self._target(Feed(data))
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            self._note(exc, data)

    def _note(self, error: BaseException, data: bytes) -> None:
        frames = [f'{one.filename}:{one.lineno}' for one in traceback.extract_tb(error.__traceback__)]
        kind = hashlib.sha1('\n'.join([type(error).__name__, *frames[-4:]]).encode()).hexdigest()[:8]
        self._seen[kind] = self._seen.get(kind, 0) + 1
        path = self._folder / f'{kind}.bin'
        # The shortest input of a kind is the one to look at.
        if path.exists() and path.stat().st_size <= len(data):
            return
        path.write_bytes(data)
        text = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
        (self._folder / f'{kind}.txt').write_text(text, 'utf-8', errors='backslashreplace')
        (self._folder / 'counts.json').write_text(json.dumps(self._seen))


def main() -> None:
    """``child TARGET FOLDER`` and what libFuzzer takes."""
    _, name, folder, *options = sys.argv
    logging.disable(logging.CRITICAL)
    watched = Watched(name, Path(folder))
    # libFuzzer calls its first word again for parts of a merge.
    atheris.Setup([str(Path(folder) / 'again'), *options], watched, enable_python_coverage=True)
    atheris.Fuzz()


if __name__ == '__main__':
    main()

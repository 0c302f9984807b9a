"""Sees that files of the application change: by looking at them, without a dependency."""

import asyncio
import logging
import os
from collections.abc import Iterable, Iterator

logger = logging.getLogger(__package__)

LOOK = 0.5
"""s from one look to the next."""
SETTLED = 0.1
"""s without a further change after which files are taken for complete: an editor, or git, writes several."""
MOST = 5_000
"""Files that are looked at, at the most."""

_Seen = dict[str, tuple[int, int, int]]


class Watcher:
    """Looks at the ``.py`` files below a directory, and at others that it is told of."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._others: set[str] = set()
        self._warned = False
        self._seen = self._look()

    def add(self, files: Iterable[str]) -> None:
        """Look at these files, too."""
        for file in files:
            if file not in self._others:
                self._others.add(file)
                self._seen.update(_state(file))

    async def wait(self) -> str:
        """Wait for a change; the name of a file that has changed, came or went."""
        while True:
            await asyncio.sleep(LOOK)
            now = self._look()
            if changed := _difference(self._seen, now):
                while True:
                    await asyncio.sleep(SETTLED)
                    before, now = now, self._look()
                    if before == now:
                        break
                self._seen = now
                return changed.removeprefix(self._directory + os.sep)

    def _look(self) -> _Seen:
        seen: _Seen = {}
        for file in self._files():
            seen.update(_state(file))
            if len(seen) >= MOST:
                if not self._warned:
                    logger.warning('there are more than %d .py files; changes of some are not seen', MOST)
                self._warned = True
                break
        return seen

    def _files(self) -> Iterator[str]:
        yield from self._others
        for place, directories, files in os.walk(self._directory):
            # Virtual environments, and what tools keep, are not the application.
            directories[:] = sorted(
                name for name in directories
                if not name.startswith(('.', '__pycache__')) and name not in ('node_modules', 'site-packages')
                and not os.path.exists(os.path.join(place, name, 'pyvenv.cfg'))
            )  # fmt: skip
            for name in files:
                if name.endswith('.py') and not name.startswith('.'):
                    yield os.path.join(place, name)


def _state(file: str) -> _Seen:
    """What tells that a file has changed; nothing where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return {}
    return {file: (found.st_mtime_ns, found.st_size, found.st_ino)}


def _difference(before: _Seen, now: _Seen) -> str | None:
    """A file by which two looks differ."""
    if before == now:
        return None
    return next((file for file in sorted({*before, *now}) if before.get(file) != now.get(file)), None)

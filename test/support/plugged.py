"""Runs of pytest with the plugin, in processes of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import torrelque
from support.processes import is_alive

PACKAGES = Path(torrelque.__file__).parent.parent


class Run:
    """Runs of pytest with the plugin; each warning is an error, and servers are told to be where nothing else is."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.pytester = pytester
        self.home = home
        monkeypatch.setenv('TMPDIR', str(home))
        monkeypatch.setenv('PYTHONPATH', str(PACKAGES))
        monkeypatch.setenv('PYTEST_DISABLE_PLUGIN_AUTOLOAD', '1')
        monkeypatch.delenv('TORRELQUE_URL', raising=False)
        monkeypatch.delenv('PYTEST_ADDOPTS', raising=False)

    def __call__(self, code: str, *arguments: str, plugins: tuple[str, ...] = (), **outcomes: int) -> pytest.RunResult:
        self.pytester.makepyfile(code)
        named = [word for name in ('torrelque.testing.plugin', *plugins) for word in ('-p', name)]
        result = self.pytester.runpytest_subprocess('-W', 'error', '-p', 'no:cacheprovider', *named, *arguments)
        result.assert_outcomes(**outcomes)
        assert result.ret == (1 if outcomes.keys() & {'failed', 'errors'} else 0)
        assert sorted(self.home.glob('torrelque-*')) == []
        return result

    def told(self) -> tuple[set[int], list[str]]:
        """Pids of the servers, and names of the queues."""
        lines = (self.pytester.path / 'told').read_text().splitlines()
        return {int(line.split()[0]) for line in lines}, [line.split()[1] for line in lines]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    # Of a short name, for a socket is in there.
    with tempfile.TemporaryDirectory(prefix='trq') as home:
        yield Run(pytester, monkeypatch, Path(home))


def check_told(run: Run, servers: int, queues: int) -> None:
    pids, names = run.told()
    assert len(pids) == servers
    assert not [pid for pid in pids if is_alive(pid)]
    assert len(names) == len(set(names)) == queues

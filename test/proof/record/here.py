"""Where the parts are run: servers, Pythons, processors, and how busy they are."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from proof.record.part import ROOT
from support.servers import MissingServerError, binary_of

KINDS = ('valkey9', 'redis6', 'valkey8', 'redis8', 'redis7')
ASK = "import platform, redis; print(platform.python_version(), redis.__version__)"


class Here:
    """This machine.

    :param pythons: interpreters, each with what the tests need; that which runs this is one of them.
    """

    def __init__(self, pythons: Iterable[str] = ()) -> None:
        self._pythons = {versions_of(path)[0].rpartition('.')[0]: path for path in (*pythons, sys.executable)}

    @functools.cached_property
    def servers(self) -> Mapping[str, str]:
        """The version of each kind of server that is here."""
        found = {}
        for kind in KINDS:
            try:
                binary = binary_of(kind)
            except MissingServerError:
                continue
            said = subprocess.run([binary, '--version'], capture_output=True, text=True, check=True).stdout
            found[kind] = next(iter(re.findall(r'\bv=([\d.]+)', said)), '?')
        return found

    def python(self, version: str = '') -> str:
        """The interpreter of a version, as 3.12, '' where there is none; that which runs this by default."""
        return self._pythons.get(version, '') if version else sys.executable

    def describe(self, kinds: Iterable[str], python: str) -> dict[str, Any]:
        """What a part is run on."""
        version, client = versions_of(python)
        return {
            'servers': {kind: self.servers[kind] for kind in kinds},
            'python': version,
            'redis-py': client,
            'processor': processor(),
            'processors': os.cpu_count(),
            'load': round(os.getloadavg()[0], 1),
        }


@functools.cache
def versions_of(python: str) -> tuple[str, str]:
    """The versions of an interpreter and of its redis-py."""
    said = subprocess.run([python, '-c', ASK], capture_output=True, text=True, check=True).stdout.split()
    return said[0], said[1]


@functools.cache
def processor() -> str:
    try:
        models = re.findall(r'(?m)^model name\s*: (.*)$', Path('/proc/cpuinfo').read_text())
    except OSError:
        models = []
    return models[0] if models else platform.machine()


def commit() -> str:
    """The commit of the tree, with a + where package or tests have more; '' where there is no repository."""
    try:
        said = [
            subprocess.run(['git', '-C', str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (('rev-parse', '--short=10', 'HEAD'), ('status', '--porcelain', 'torrelque', 'test'))
        ]
    except (OSError, subprocess.CalledProcessError):
        return ''
    return said[0] + '+' * bool(said[1])

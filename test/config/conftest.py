"""A directory to read files in."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.configuring import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)

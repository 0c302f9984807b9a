"""Modules of this package that are loaded when they are first used: whoever asks one question waits for one answer."""

import importlib
from typing import Any


class Module:
    """Stands for a module of this package.

    ``importlib.util.LazyLoader`` would do the same, but its modules cannot be loaded by an import hook, such as that of
    pytest.
    """

    def __init__(self, name: str) -> None:
        self._path = f'{__package__}.{name}'

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._path), name)

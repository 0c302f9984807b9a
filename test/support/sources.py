"""Sources as trees."""

from __future__ import annotations

import ast
import gc


def parse(text: str) -> ast.Module:
    """The tree of a source.

    No garbage is collected meanwhile: CPython 3.11 fails to make a tree in whose middle a collection calls Python code,
    as hypothesis has it do.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        if was_on:
            gc.enable()

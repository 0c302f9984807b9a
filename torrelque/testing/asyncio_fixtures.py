"""The fixture that pytest-asyncio runs, once for each scope that the event loop of a test may have."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Literal

import pytest_asyncio

_Scope = Literal['function', 'class', 'module', 'package', 'session']


def _closing_in(scope: _Scope) -> Any:
    @pytest_asyncio.fixture(loop_scope=scope, name=f'_torrelque_closing_in_{scope}')
    async def closing() -> AsyncIterator[AsyncExitStack]:
        async with AsyncExitStack() as stack:
            yield stack

    return closing


in_function = _closing_in('function')
in_class = _closing_in('class')
in_module = _closing_in('module')
in_package = _closing_in('package')
in_session = _closing_in('session')

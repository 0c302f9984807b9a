"""What each part of the suite runs: most of what is long, or alike on all kinds of servers, is left to the whole suite.

`tox` and `tox -e long` are the parts; which tests the marks leave to whom is told in ``pyproject.toml``.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import pytest

from support.servers import selected_kinds

OTHERS = 12
"""Of long tests, one in so many is run on each kind of server but the first by `tox -e long`."""
ABOVE = {
    'cli', 'contrib', 'cron', 'dashboard', 'example', 'monitor', 'operate', 'sharded', 'tasks', 'telemetry', 'testing',
    'worker',
}  # fmt: skip
"""Folders of what lies above the core: of their long tests, `tox -e long` runs a quarter."""
MANY = 6
"""Of so many long cases of a test, half are run by `tox -e long`, if the mark `share` does not say another number."""


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to the environments that have the whole suite what hardly depends on the kind of server, and what is alike.

    What is marked with `first_server` is long on all kinds but the first, and with `one_server` is not run on these; of
    what else is not long, `tox` and `tox -e long` run a fifth each on them.
    """
    first, *_ = selected_kinds()
    left_out: list[pytest.Item] = []
    alike: dict[str, list[pytest.Item]] = {}
    for item in items:
        parameters: Mapping[str, object] = getattr(getattr(item, 'callspec', None), 'params', {})
        kind = parameters.get('server_kind', first)
        if kind != first:
            if item.get_closest_marker('first_server'):
                item.add_marker(pytest.mark.long)
            if item.get_closest_marker('one_server'):
                left_out.append(item)
            elif item.get_closest_marker('long') is None:
                place = zlib.crc32(item.nodeid.encode()) % 15
                if rest := place % 5 > 2 or place % 3 == 2:
                    item.add_marker(pytest.mark.whole)
                if rest or place % 3 == 1:
                    item.add_marker(pytest.mark.long)
                continue
        if item.get_closest_marker('long') is None:
            continue
        if kind == first:
            alike.setdefault(item.nodeid.partition('[')[0], []).append(item)
        elif zlib.crc32(item.nodeid.encode()) % OTHERS:
            item.add_marker(pytest.mark.whole)
    for name, cases in alike.items():
        if cases[0].path.parent.name in ABOVE and zlib.crc32(name.encode()) % 4:
            for item in cases:
                item.add_marker(pytest.mark.whole)
        leave_to_whole(name, cases)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in {*left_out}]


def leave_to_whole(name: str, cases: list[pytest.Item]) -> None:
    """Mark all but one in so many of the cases of a test with `whole`: by its name, so that it is not the first case of
    each."""
    for place, item in enumerate(cases):
        share = item.get_closest_marker('share')
        part = share.args[0] if share else 2 if len(cases) >= MANY else 1
        if place % part != zlib.crc32(name.encode()) % min(part, len(cases)):
            item.add_marker(pytest.mark.whole)

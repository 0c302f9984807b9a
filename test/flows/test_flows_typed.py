"""What type checkers have to find, is there for them to be found."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_each_wrong_line_is_marked_for_type_checkers() -> None:
    # Both complain of a mark that is not needed, see ``tox -e lint``.
    wrong = (HERE / 'wrong_flows.py').read_text()
    body = wrong[wrong.index('async def wrong') :].splitlines()[1:]
    lines = [line for line in body if line.strip() and not line.strip().startswith('#')]
    assert len(lines) == 19
    assert [line for line in lines if not re.search(r'  # type: ignore\[[a-z-]+\]$', line)] == []
    assert 'reportUnnecessaryTypeIgnoreComment=true' in wrong.partition('\n')[0]
    assert '# type: ignore' not in (HERE / 'typed_flows.py').read_text()

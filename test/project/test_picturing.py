"""Pictures of the dashboard can be made anew, and those of the documentation are all there."""

from __future__ import annotations

import asyncio
import re
import struct
from pathlib import Path

import pytest

from support import picturing
from support.browser import ROOT, MissingBrowserError
from support.picturing import FOLDER, LARGEST, PICTURES, VIEWS, WIDTH, take_pictures

BLANK = 20_000
"""Bytes of a picture that shows next to nothing."""


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    head = path.read_bytes()[:24]
    assert head[:8] == b'\x89PNG\r\n\x1a\n'
    width, height = struct.unpack('>II', head[16:])
    return width, height


SIZES = {f'{view.name}-{scheme}.png': (WIDTH, view.height) for view in VIEWS for scheme in picturing.SCHEMES}


@pytest.mark.parametrize('name', PICTURES)
def test_picture_of_the_documentation_is_there_and_small(name: str) -> None:
    """Where it is red: ``cd test && python -m support.picturing`` makes them anew."""
    assert size_of(FOLDER / name) == SIZES[name]
    assert BLANK < (FOLDER / name).stat().st_size < LARGEST


def test_pages_show_each_picture_in_both_colours() -> None:
    pages = [ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')]
    shown = {name for page in pages for name in re.findall(r'image/(dashboard[a-z-]*\.png)', page.read_text())}
    assert shown == {*PICTURES}
    assert {path.name for path in FOLDER.glob('dashboard*.png')} == {*PICTURES}


@pytest.mark.long
@pytest.mark.one_server
def test_pictures_can_be_made_and_the_browser_has_nothing_to_complain_about(tmp_path: Path) -> None:
    try:
        complaints = asyncio.run(take_pictures(tmp_path))
    except MissingBrowserError as exc:
        pytest.skip(str(exc))
    assert complaints == []
    assert {path.name: size_of(path) for path in tmp_path.iterdir()} == SIZES
    assert {path.name for path in tmp_path.iterdir() if not BLANK < path.stat().st_size < LARGEST} == set()

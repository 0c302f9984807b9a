"""The scripts as texts: their directives are true."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from torrelque.protocol.keys import FIXED
from torrelque.protocol.scripts import load_script

FOLDER = files('torrelque') / 'script'
TEXTS = {
    path.name.removesuffix('.lua'): path.read_text('utf-8')
    for path in sorted(FOLDER.iterdir(), key=lambda path: path.name)
    if path.name.endswith('.lua')
}
PARTS = {name.removeprefix('_'): text for name, text in TEXTS.items() if name.startswith('_') and name != '_prelude'}
WHOLE = [name for name in TEXTS if not name.startswith('_')]
DIRECTIVE = re.compile(r'(?m)^ *--@ (keys|uses) (\w+(?: \(\w+(?:, \w+)*\))?(?:, \w+(?: \(\w+(?:, \w+)*\))?)*)$')


def names_of(text: str) -> set[str]:
    """The names that a text defines for whatever stands behind it."""
    names = re.findall(r'(?m)^local function (\w+)', text)
    for line in re.findall(r'(?m)^local (?!function )([\w, ]+)', text):
        names += line.strip().split(', ')
    return {*names}


def brought(text: str) -> Iterator[tuple[str, set[str]]]:
    """The parts that a text uses, and what they define by its directives."""
    for kind, words in DIRECTIVE.findall(text):
        for part, names in re.findall(r'(\w+)(?: \(([^)]*)\))?', words) if kind == 'uses' else ():
            yield part, {*names.split(', ')} if names else {part}


@pytest.mark.parametrize('name', TEXTS)
def test_directives_name_keys_and_what_the_parts_define(name: str) -> None:
    text = TEXTS[name]
    assert len(DIRECTIVE.findall(text)) == len(re.findall(r'(?m)^ *--@', text))
    for kind, words in DIRECTIVE.findall(text):
        assert kind == 'uses' or {*words.split(', ')} <= {*FIXED}
    for part, names in brought(text):
        assert names == names_of(PARTS[part]), part


@pytest.mark.parametrize('name', WHOLE)
def test_a_script_is_its_body_with_what_it_uses_and_no_comment(name: str) -> None:
    script = load_script(name)
    assert script.sha.decode() == hashlib.sha1(script.text).hexdigest()
    assert not re.search(rb'^\s*--', script.text, re.M)
    assert script.text.startswith(b'local pending = KEYS[1]\n')
    for part, text in PARTS.items():
        code = [line for line in text.splitlines() if line and not line.lstrip().startswith('--')]
        others = script.text.decode()
        for line in code:
            others = others.replace(line + '\n', '', 1)
        functions = {*re.findall(r'(?m)^local function (\w+)', text)}
        words = [rf'\b{word}\(' for word in functions] + [rf'\b{word}\b' for word in names_of(text) - functions]
        needed = any(re.search(word, others) for word in words)
        assert (code[0].encode() in script.text) == needed, (name, part)


def test_a_key_is_named_where_it_is_used_and_once_in_a_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / 'script').mkdir()
    parts = {
        '_prelude': "local base = 'x:'",
        '_one': '-- Part.\n--@ keys tasks, heads\nlocal one = tasks',
        '_two': '-- Part.\n--@ keys heads\n--@ uses one\nlocal two, three = 2, 3',
        'all': '-- All.\n--@ keys tasks\n--@ uses one, two (two, three)\n\n'
        'if 1 then\n  --@ keys dead\n  --@ keys seq, tasks\nend\n--@ keys dead',
    }
    for name, text in parts.items():
        (tmp_path / 'script' / f'{name}.lua').write_text(text)
    monkeypatch.setattr('importlib.resources.files', lambda package: tmp_path)
    assert load_script.__wrapped__('all').text.decode().splitlines() == [
        "local base = 'x:'",
        "local tasks = base .. 'tasks'",
        "local heads = base .. 'heads'",
        'local one = tasks',
        'local two, three = 2, 3',
        'if 1 then',
        "local dead = base .. 'dead'",
        "local seq = base .. 'seq'",
        'end',
        "local dead = base .. 'dead'",
    ]

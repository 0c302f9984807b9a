"""The scripts as texts: their directives are true, and no name hides another."""

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
DIRECTIVE = re.compile(r'(?m)^ *--@ (Keys|Uses) (\w+(?: \(\w+(?:, \w+)*\))?(?:, \w+(?: \(\w+(?:, \w+)*\))?)*)$')
TOKEN = re.compile(r"""--[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|[A-Za-z_]\w*|\S""")


def names_of(text: str) -> set[str]:
    """The names that a text defines for whatever stands behind it."""
    names = re.findall(r'(?m)^local function (\w+)', text)
    for line in re.findall(r'(?m)^local (?!function )([\w, ]+)', text):
        names += line.strip().split(', ')
    return {*names}


def brought(text: str) -> Iterator[tuple[str, set[str]]]:
    """The parts that a text uses, and what they define by its directives."""
    for kind, words in DIRECTIVE.findall(text):
        for part, names in re.findall(r'(\w+)(?: \(([^)]*)\))?', words) if kind == 'Uses' else ():
            yield part, {*names.split(', ')} if names else {part}


class Scopes:
    """A reader of Lua, as far as names go: which are declared where another of the same spelling is seen."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = [word for word in TOKEN.findall(text) if not word.startswith(('--', "'", '"'))]
        self._at = 0
        self._open: list[set[str]] = [set()]
        self.hidden: list[str] = []

    def read(self) -> list[str]:
        counted: list[str] = []
        while self._at < len(self._tokens):
            word = self._next()
            if word == 'local':
                self._local()
            elif word == 'function':
                self._function()
            elif word == 'for':
                counted = self._names()
            elif word in ('do', 'then', 'repeat'):
                self._begin(counted)
                counted = []
            elif word == 'else':
                self._open.pop()
                self._begin([])
            elif word in ('elseif', 'end', 'until'):
                self._open.pop()
        assert len(self._open) == 1
        return self.hidden

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1]

    def _names(self) -> list[str]:
        """Names between commas, from here on."""
        names = [self._next()]
        while self._tokens[self._at : self._at + 1] == [',']:
            self._at += 1
            names.append(self._next())
        return names

    def _local(self) -> None:
        if self._tokens[self._at] != 'function':
            self._declare(self._names())
            return
        self._at += 1
        self._declare([self._tokens[self._at]])
        self._function()

    def _function(self) -> None:
        while self._next() != '(':
            pass
        self._begin([] if self._tokens[self._at] == ')' else self._names())

    def _begin(self, names: list[str]) -> None:
        self._open.append(set())
        self._declare(names)

    def _declare(self, names: list[str]) -> None:
        for name in names:
            if name != '_' and any(name in scope for scope in self._open):
                self.hidden.append(name)
            self._open[-1].add(name)


@pytest.mark.parametrize('name', TEXTS)
def test_directives_name_keys_and_what_the_parts_define(name: str) -> None:
    text = TEXTS[name]
    assert len(DIRECTIVE.findall(text)) == len(re.findall(r'(?m)^ *--@', text))
    for kind, words in DIRECTIVE.findall(text):
        assert kind == 'Uses' or {*words.split(', ')} <= {*FIXED}
    for part, names in brought(text):
        assert names == names_of(PARTS[part]), part


@pytest.mark.parametrize('name', WHOLE)
def test_no_name_of_a_script_hides_one_of_its_parts_or_of_a_key(name: str) -> None:
    assert Scopes(load_script(name).text.decode()).read() == []


def test_a_hidden_name_is_seen() -> None:
    text = 'local a, b = 1\nlocal function c(d, e)\n  for f, a in g do\n    local c = "local d" -- local e\n  end\nend'
    assert Scopes(text).read() == ['a', 'c']
    assert Scopes('if a then\n  local b\nelseif c then\n  local b\nelse\n  local b\nend\nlocal b').read() == []
    assert Scopes('repeat\n  local a\n  a = function()\n    local a\n  end\nuntil a').read() == ['a']
    assert Scopes('local function a()\nend\nlocal a').read() == ['a']


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
        words = [rf'\b{word}[()]' for word in functions] + [rf'\b{word}\b' for word in names_of(text) - functions]
        # What `leave` needs of these lines is what they do to the bell.
        needed = any(re.search(word, others) for word in words) or (part, name) == ('tend', 'leave')
        assert (code[0].encode() in script.text) == needed, (name, part)


def test_a_key_is_named_where_it_is_used_and_once_in_a_block(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / 'script').mkdir()
    parts = {
        '_prelude': "local base = 'x:'",
        '_one': '-- Part.\n--@ Keys tasks, heads\nlocal one = tasks',
        '_two': '-- Part.\n--@ Keys heads\n--@ Uses one\nlocal two, three = 2, 3',
        'all': '-- All.\n--@ Keys tasks\n--@ Uses one, two (two, three)\n\n'
        'if 1 then\n  --@ Keys dead\n  --@ Keys seq, tasks\nend\n--@ Keys dead',
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


@pytest.mark.parametrize('name', TEXTS)
def test_a_key_that_a_file_names_is_used_there(name: str) -> None:
    """A name costs each call, whether it is used or not."""
    code = '\n'.join(line for line in TEXTS[name].splitlines() if not line.lstrip().startswith('--'))
    named = [key for kind, words in DIRECTIVE.findall(TEXTS[name]) if kind == 'Keys' for key in words.split(', ')]
    assert [key for key in named if not re.search(rf'\b{key}\b', code)] == []


@pytest.mark.parametrize('name', WHOLE)
def test_what_is_noted_has_a_place_before_anything_notes(name: str) -> None:
    """A part of a part may note; a name that is not there yet would be an error of the call only when it does."""
    text = load_script(name).text.decode()
    uses = [found.start() for found in re.finditer(r'\bnoted\b', text)]
    assert not uses or text.index('local noted') + len('local ') == uses[0]

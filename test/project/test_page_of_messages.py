"""The page of messages has every text that an error or a line of the log may have, and no other."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from support.sources import parse

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / 'torrelque'
PAGE = ROOT / 'docs' / 'errors.md'
GAP = '…'

_ERROR = re.compile(r'\w+Error|Reject|Retry|Failure')
_LEVELS = {'info', 'warning', 'error', 'exception', 'log', 'critical'}
"""What the log says at DEBUG is for those who read the code."""
_INTERNAL = {'AssertionError', 'KeyError', 'NotImplementedError'}
_PLACEHOLDER = re.compile(r'%[-\d.]*[a-z]')


# What the package says


def text_of(node: ast.AST) -> str | None:
    """A literal text, with a gap for each part that differs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return ''.join(part.value if isinstance(part, ast.Constant) else GAP for part in node.values)  # type: ignore[misc]
    return None


def texts_in(node: ast.AST) -> Iterator[str]:
    """The literal texts of an expression, without those inside of another one, and without the arguments of a call."""
    text = text_of(node)
    if text is not None:
        yield text
    elif not isinstance(node, ast.Call) or ast.unparse(node.func).endswith('.join'):
        for child in ast.iter_child_nodes(node):
            yield from texts_in(child)


def literals(tree: ast.Module) -> dict[str, list[str]]:
    """What names stand for that were given a literal text somewhere in a module."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).extend(texts_in(node.value))
    return found


def messages(source: str) -> Iterator[str]:
    """The texts of the errors that a module makes, and of what it logs."""
    tree = parse(source)
    named = literals(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        whole = ast.unparse(node.func)
        name = whole.rpartition('.')[2]
        raised = _ERROR.fullmatch(name) and name not in _INTERNAL or whole == 'super().__init__'
        logged = name in _LEVELS and whole.rpartition('.')[0].endswith('logger')
        for part in node.args if raised or logged else []:
            texts = named.get(part.id, []) if isinstance(part, ast.Name) else texts_in(part)
            for text in texts:
                text = _PLACEHOLDER.sub(GAP, text) if logged else text
                yield ' '.join(text.removeprefix(f'queue {GAP}: ').split())


def tells_something(text: str) -> bool:
    """Whether there is a sentence, or a part of one; what goes on with a comma or a colon belongs to another text."""
    return ' ' in text and len(re.findall('[a-z]', text)) >= 5 and text[0] not in ',:'


# What the tasks of the demo fail by is made up.
LEFT_OUT = {'demoshop.py'}
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text()
    for path in sorted(PACKAGE.rglob('*.py')) if path.name not in LEFT_OUT
}  # fmt: skip


# What the page has


def entries() -> list[str]:
    """The code spans of headings, and of the first cell of each row of a table."""
    page = PAGE.read_text()
    heads = re.findall(r'(?m)^### (.+)$', page)
    cells = re.findall(r'(?m)^\| (.+?) \|', page)
    return [span for line in [*heads, *cells] for span in re.findall('`([^`]+)`', line)]


def pattern(entry: str) -> re.Pattern[str]:
    return re.compile('.*'.join(map(re.escape, entry.split(GAP))))


# The tests


def test_messages_are_found() -> None:
    source = (
        'def f(x):\n'
        '    what = f"one {x} two"\n'
        '    logger.warning("queue %r: three: %s", x, x)\n'
        '    logger.debug("four")\n'
        '    raise FiveError(what) from SixError("\\n".join([f"seven {x!r}:", *x]) if x else x.decode("eight"))\n'
    )
    assert [text for text in messages(source) if text] == ['three: …', 'one … two', 'seven …:']


def test_every_message_is_on_the_page() -> None:
    """Where it is red: give the message a heading, or a row, in ``docs/errors.md``."""
    patterns = [pattern(entry) for entry in entries() if tells_something(entry)]
    found = {text: place for place, source in SOURCES.items() for text in messages(source) if tells_something(text)}
    assert len(found) > 150
    assert {text: place for text, place in found.items() if not any(it.fullmatch(text) for it in patterns)} == {}


def test_what_the_page_tells_of_is_said_somewhere() -> None:
    texts = [*(text for source in SOURCES.values() for node in ast.walk(parse(source)) if (text := text_of(node)))]
    texts += [path.read_text() for path in PACKAGE.rglob('*.lua')]
    said = '\n'.join([*texts, *(_PLACEHOLDER.sub(GAP, text) for text in texts)])
    missing = {entry for entry in entries() if max(entry.split(GAP), key=len).strip(' :;,()') not in said}
    assert missing == set()


def test_no_message_is_told_twice() -> None:
    counts = Counter(entries())
    assert {entry for entry, count in counts.items() if count > 1} == set()

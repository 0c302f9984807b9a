"""Write the parts of the page on the command line that are made of its parser: commands, options, filters.

    python docs/commands.py [FILE]

A test has it write into a file of its own, and compares.  It goes by what the parser is made of, and not by its help,
which each version of Python sets otherwise.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from torrelque.cli.parser import COMMANDS, make_parser  # noqa: E402 - it is found now

PAGE = HERE / 'command-line.md'
PART = re.compile(r'(?s)(<!-- made: (\w+) -->\n).*?(<!-- made: end -->)')


class Group(NamedTuple):
    """Arguments that stand together."""

    title: str
    """'' is what is the command's alone."""
    rows: tuple[str, ...]


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of each command."""
    [commands] = [one for one in make_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(commands.choices)


def groups(parser: argparse.ArgumentParser) -> Iterator[Group]:
    """The arguments of a command, its own first."""
    own: list[str] = []
    named: list[Group] = []
    for group in parser._action_groups:
        rows = tuple(
            row_of(action) for action in group._group_actions
            if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
        )  # fmt: skip
        # Positional arguments and options have titles of argparse's own, which differ by the version of Python.
        if group in (parser._positionals, parser._optionals):
            own += rows
        elif rows:
            named.append(Group(str(group.title), rows))
    return iter([Group('', tuple(own)), *named])


def row_of(action: argparse.Action) -> str:
    """The row of an argument."""
    spelt = ', '.join(action.option_strings)
    if action.nargs != 0:
        words = '{' + ','.join(map(str, action.choices)) + '}' if action.choices else action.dest.upper()
        value = str(action.metavar or words)
        many = {'*': f'[{value}…]', '+': f'{value}…', '?': f'[{value}]'}.get(str(action.nargs), value)
        spelt = f'{spelt} {many}' if spelt else many
    told = (action.help or '').replace('%%', '%').replace('|', '\\|')
    return f'| `{spelt}` | {told} |'


def table(rows: tuple[str, ...]) -> str:
    """The table of arguments."""
    return '\n'.join(['| argument | what it does |', '|---|---|', *rows, ''])


def overview() -> str:
    """The commands, each with a line."""
    rows = [f'| [`{one.name}`](#torrelque-{one.name}) | {one.help} | {"yes" if one.acts else ""} |' for one in COMMANDS]
    return '\n'.join(['', '| command | what it does | changes something |', '|---|---|---|', *rows, '', ''])


def shared() -> list[Group]:
    """Groups of arguments that several commands have."""
    counts = Counter(group for parser in parsers().values() for group in groups(parser) if group.title)
    return [group for group, count in counts.items() if count > 1]


def anchor(group: Group) -> str:
    """The anchor of the heading of a group."""
    return re.sub(r'[^\w -]', '', heading(group).lower()).replace(' ', '-')


def heading(group: Group) -> str:
    """The heading of a group."""
    return f'Options: {group.title}'


def reference() -> str:
    """All commands, and what several have, once."""
    common = shared()
    parts = []
    for name, parser in parsers().items():
        parts.append(f'\n### `torrelque {name}`\n\n{parser.description}\n')
        theirs = [*groups(parser)]
        for group in theirs:
            if group not in common and group.rows:
                parts.append(f'\n{group.title + ":" + chr(10) * 2 if group.title else ""}{table(group.rows)}')
        links = [f'[{group.title}](#{anchor(group)})' for group in theirs if group in common]
        if links:
            parts.append(f'\nAnd options: {"; ".join(links)}.\n')
    parts += [f'\n### {heading(group)}\n\n{table(group.rows)}' for group in common]
    return ''.join([*parts, '\n'])


MADE = {'commands': overview, 'reference': reference}


def write(page: str) -> str:
    """The page with what is made anew."""
    return PART.sub(lambda match: match[1] + MADE[match[2]]() + match[3], page)


def main() -> None:
    """Write the page, into another file where one is named."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(write(PAGE.read_text('utf-8')), 'utf-8')


if __name__ == '__main__':
    main()

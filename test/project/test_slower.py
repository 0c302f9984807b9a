"""The page that says where others are faster names whoever is ahead in the tables of figures, and nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[2] / 'docs'
LESS = {'pick-up p50', 'commands'}
"""Columns of tables in which less is better."""
OURS = 'torrelque'
OTHERS = re.compile(r'kew|pyfiq|huey|saq|arq|streaq|bullmq|taskiq-redis|pydocket|dramatiq|rq|celery')


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The head of each table, and its rows."""
    for table in re.findall(r'(?m)((?:^\|.*\n)+)', text):
        head, _, *rows = ([cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines())
        yield head, rows


def number(cell: str) -> float | None:
    found = re.match(r'-?[\d.]+(?= |$)', cell)
    return float(found[0]) if found else None


def ahead_of_us(text: str) -> dict[str, set[str]]:
    """Who is better than the first row, by columns."""
    found: dict[str, set[str]] = {}
    for head, rows in tables(text):
        if rows[0][0] == OURS:
            sign = -1 if LESS & {*head} else 1
            for column, name in enumerate(head):
                ours = number(rows[0][column])
                for row in rows[1:]:
                    theirs = number(row[column]) if OTHERS.fullmatch(row[0]) else None
                    if ours is not None and theirs is not None and sign * theirs > sign * ours:
                        found.setdefault(name, set()).add(row[0])
    return found


def test_whoever_is_ahead_is_told_of() -> None:
    figures = (DOCS / 'performance.md').read_text()
    measured = figures.partition('## Beside other queues')[2].partition('\n## ')[0]
    told: dict[str, set[str]] = {}
    for head, rows in tables((DOCS / 'slower.md').read_text()):
        assert head[:2] == ['what', 'ahead']
        for row in rows:
            # A row may be of several columns, between semicolons.
            for name in row[0].split('; '):
                told[name] = {*OTHERS.findall(row[1])}
    expected = ahead_of_us(measured)
    assert {*told} == {*expected}
    for name, systems in expected.items():
        assert systems <= told[name], name
    assert {*[one for each in told.values() for one in each]} == {*[one for each in expected.values() for one in each]}


def test_who_is_ahead_is_seen_in_columns_of_both_kinds() -> None:
    text = '|  | drain |\n| --- | ---: |\n| torrelque | 2.0 |\n| kew | 3.1 (0.6x) |\n| torrelque 0.9 | 9 |\n'
    text += '\n|  | commands |\n| --- | ---: |\n| torrelque | 2.0 |\n| kew | 3.1 |\n| rq | 1.5 |\n'
    assert ahead_of_us(text) == {'drain': {'kew'}, 'commands': {'rq'}}

"""Addresses of pages, and what stands in them.

All pages have the same depth, so that links need no prefix, and names of queues, groups and tasks stand in queries
only, where any text may be: bytes that are no UTF-8 too, which are surrogates in a text of Python.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from torrelque import TorrelqueValueError

FIELDS = 1000
"""Of a query, or a form, at the most."""


def link(page: str, query: Mapping[str, Any] | None = None, /, **more: Any) -> str:
    """The address of a page, as seen from any other; what is None or '' is left out.

    :param page: its name; '' is the first one.
    """
    pairs = spell({**(query or {}), **more})
    return f'./{page}?{pairs}' if pairs else f'./{page}'


def ask_link(act: str, query: Mapping[str, Any]) -> str:
    """The address of the page that asks before an act, whatever act the query names."""
    return link('ask', {'act': act, **{name: value for name, value in query.items() if name != 'act'}})


def spell(query: Mapping[str, Any]) -> str:
    """A query as it stands in an address."""
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        pairs += [(name, str(one)) for one in values if one is not None and one != '']
    return spell_pairs(pairs)


def spell_pairs(pairs: Sequence[tuple[str, str]]) -> str:
    """The same of names and values as they are, empty ones too."""
    return urlencode(pairs, errors='surrogateescape')


def read_pairs(text: str | bytes) -> list[tuple[str, str]]:
    """What stands in a query, or in a form.

    :raises TorrelqueValueError: it is too much.
    """
    if isinstance(text, bytes):
        text = text.decode('ascii', 'surrogateescape')
    try:
        return parse_qsl(text, keep_blank_values=True, errors='surrogateescape', max_num_fields=FIELDS)
    except ValueError as exc:
        raise TorrelqueValueError(f'a query, or a form, has {FIELDS:,} fields at the most') from exc


class Query(dict[str, str]):
    """A query: of a name that is there several times, the last value; `all` has the others too."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = [*pairs]
        super().__init__(self.pairs)

    def all(self, name: str) -> list[str]:
        """Each value of a name."""
        return [value for one, value in self.pairs if one == name]

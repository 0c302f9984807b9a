"""Texts as labels, and functions by them: each label once, however many names come to the same."""

from torrelque.operate import Counts, FunctionCounts, Totals

MOST = 200
"""Functions that have labels of their own."""
OTHER, NONE = '*other', '*none'
"""The functions above that, all together; and tasks that are no call of a function."""


def clean(text: str) -> str:
    """A text as a label: bytes that are no UTF-8, for which surrogates stand, are written out."""
    return text if text.isascii() else text.encode('utf-8', 'backslashreplace').decode()


def functions_of(counts: Counts) -> tuple[FunctionCounts, ...]:
    """Functions by their labels, each once, and no more than `MOST` and those that are called `OTHER`."""
    found: dict[str, FunctionCounts] = {}
    for one in counts.functions:
        name = clean(one.name) or NONE
        if name not in found and len(found) >= MOST and name != OTHER:
            name = OTHER
        known = found.get(name)
        if known is not None:
            run = tuple(map(sum, zip(known.run, one.run, strict=True)))
            found[name] = FunctionCounts(name, Totals.together([known.totals, one.totals]), run)
        else:
            found[name] = one if name == one.name else FunctionCounts(name, one.totals, one.run)
    return tuple(found.values())

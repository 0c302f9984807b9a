"""Parts of an error that differ from one case to the next, left out; and which files are the application's own.

All patterns take a time that grows with the text and not with its square, and they are given a bounded text.
"""

import re
from collections.abc import Sequence

SPAN = 500
"""Characters of a message that are looked at."""
MOST = 200
"""Characters of a message that are kept."""
_DETAILS = 50
"""Lines behind a message that are looked at."""

_DIFFERENT = re.compile(
    r"""
      (?<!\w) (?: '(?:[^'\\]|\\.)*(?:'(?!\w)|\Z) | "(?:[^"\\]|\\.)*(?:"(?!\w)|\Z)     # quoted, or to the end
                | `[^`]*(?:`|\Z) | “[^”]*(?:”|\Z) | «[^»]*(?:»|\Z) )
    | (?P<number>
        (?<![^\W_]) [0-9a-f]{8} (?:-[0-9a-f]{4}){3} - [0-9a-f]{12} (?![^\W_])          # a UUID
      | (?<![^\W_]) 0x[0-9a-f]+ (?![^\W_])                                            # an address
      | (?<![^\W_]) [0-9a-f]{8,} (?![^\W_])                                           # a digest
      | (?<![\w:]) (?:[0-9a-f]{0,4}:){2,7} [0-9a-f]{1,4} (?:\.\d+)* (?![\w:])          # IPv6, or a time of day
      | (?<![^\W_]) [a-z]* \d+ [a-z]+ \d [a-z0-9]* (?![^\W_])                         # an id of digits and letters
      | (?:(?<!\w)[-+])? \d+ (?:[.,:_]\d+)* (?:e[-+]?\d+(?![^\W_]))?                  # a number
      )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_VALIDATION = re.compile(r'\d+ validation errors? for ')
_KIND = re.compile(r'\[type=([a-z_]{1,60})[,\]]')

_FOREIGN = re.compile(
    r'/(?:site|dist)-packages/'
    r'|/lib(?:64)?/(?:python|pypy|graalpy)\d[\d.a-z]*/'
    r'|/(?:python|pypy)[\d.-]*(?:-32)?/lib/'
    r'|/(?:python|pypy)\d+\.zip/'
    r'|\.framework/versions/[\d.]+/lib/'
    r'|/torrelque/(?:aio|sync|protocol|tasks|worker|operate|testing|cli)/',
    re.IGNORECASE,
)
"""Where files of the standard library and of installed packages are, and of this package, also in a checkout."""
_TYPED = ('<stdin>', '<string>', '<console>')
_COMMON = ('__init__.py', '__main__.py')


def normalise(message: str, behind: Sequence[str] = ()) -> str:
    """A message with ``N`` for what counts or identifies, and ``'…'`` for what is quoted.

    :param behind: the lines that follow it: of a validation by pydantic, they tell which fields are wrong, and how.
    """
    short = bound(_DIFFERENT.sub(_instead, ' '.join(message[:SPAN].split())))
    if _VALIDATION.match(message):
        short = bound(': '.join([short, '; '.join(sorted({*_details(behind)}))]))
    return short


def _instead(match: re.Match[str]) -> str:
    if match['number'] is not None:
        return 'N'
    return "'…'"


def _details(lines: Sequence[str]) -> list[str]:
    """Field and kind of error, of the report of a validation: a field has a line, and the error the next."""
    found: list[str] = []
    field = ''
    for line in lines[:_DETAILS]:
        if line[:1].strip():
            field = normalise(line)
        elif kind := _KIND.search(line[: 2 * SPAN]):
            found.append(f'{field} {kind[1]}'.strip())
    return found


def bound(text: str) -> str:
    """A text that is no longer than a message is kept."""
    return text if len(text) <= MOST else text[: MOST - 1] + '…'


def is_own(file: str) -> bool:
    """Whether a file is neither of the standard library nor of an installed package."""
    if file.startswith('<'):
        return file in _TYPED
    return _FOREIGN.search('/' + file.replace('\\', '/')) is None


def base_name(file: str) -> str:
    """A file without its folder, which a release changes; where many files have its name, with the last of them."""
    parts = file.replace('\\', '/').rsplit('/', 2)
    return '/'.join(parts[-2:]) if parts[-1] in _COMMON else parts[-1]

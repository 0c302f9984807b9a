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
        \d (?<![^\W_].) \d{3}-\d\d-\d\d (?![^\W_t])                                         # a date, and a time
          (?:[t ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:z|[+-]\d\d:?\d\d)? (?![^\W_]))?
      | (?<![^\W_]) [0-9a-f]{8} (?:-[0-9a-f]{4}){3} - [0-9a-f]{12} (?![^\W_])          # a UUID
      | (?<![^\W_]) 0x[0-9a-f]+ (?![^\W_])                                            # an address
      | (?<![^\W_]) [0-9a-f]{8,} (?![^\W_])                                           # a digest
      | (?<![\w:]) (?:[0-9a-f]{0,4}:){2,7} [0-9a-f]{1,4} (?:\.\d+)* (?![\w:])          # IPv6, or a time of day
      | (?<![^\W_]) [a-z]* \d+ [a-z]+ \d [a-z0-9]* (?![^\W_])                         # an id of digits and letters
      | (?:(?<!\w)[-+])? \d+ (?:[.,:_]\d+)* (?:e[-+]?\d+(?![^\W_]))?                  # a number
      )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
# Each alternative begins with what a character must be, so that others are passed over at once.
_PLACE = re.compile(
    r"""
      (?P<host> [a-z](?<![\w+.-].) [a-z0-9+.-]*://[^\s/'"<>]* / ) [^\s'"<>]* \d [^\s'"<>,;:)\]}]*    # a URL
    | [/\\](?<![\w/\\.].) (?=[^\s'"]*\d) (?:[^\s/\\'"]+[/\\])+ [^\s'",;:)\]}]*                   # a path
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MAIL = re.compile(r'[\w.+-](?<![\w.+-].)[\w.+-]*@[\w-]+(?:\.[\w-]+)+')

# A number tells one kind of failure from another where it is a status of HTTP, an errno, the code of a process.
_WORDS = ('status', 'code', 'http', 'http/1.0', 'http/1.1', 'http/2', 'http error', 'errno', 'winerror', 'sqlstate')
_OF_CODE = re.compile(r'(?<![^\W_])(?:status(?:[ _]?code)?|http(?:/[0-9.]+|[ ]error)?|code)\Z')
"""What stands before a number of three digits at the most; before the others of the words, it may have five."""
_PHRASE = re.compile(r', message=| (?:[A-Z][a-z]+ [A-Z]|OK|Gone|Conflict|Forbidden|Unauthorized|Found\b)')
_QUOTED_STATUS = re.compile(r"'[1-5][0-9][0-9] [A-Z][A-Za-z -]{1,40}'")
_BEFORE = 16
"""Characters before a number that may say what it is."""

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
    """A message with ``N`` for what counts or identifies, and ``…`` for what is quoted, or is a place.

    What tells one kind of failure from another stays: a status of HTTP, an errno, the code of a process.

    :param behind: the lines that follow it: of a validation by pydantic, they tell which fields are wrong, and how.
    """
    text = ' '.join(message[:SPAN].split())
    if '@' in text:
        text = _MAIL.sub('…', text)
    if '/' in text or '\\' in text:
        text = _PLACE.sub(lambda place: f'{place["host"] or ""}…', text)
    short = bound(_DIFFERENT.sub(_instead, text))
    if _VALIDATION.match(message):
        short = bound(': '.join([short, '; '.join(sorted({*_details(behind)}))]))
    return short


def _instead(match: re.Match[str]) -> str:
    found = match[0]
    if match['number'] is not None:
        return found if len(found) <= 5 and _is_kind(found, match.string, match.start()) else 'N'
    return found if _QUOTED_STATUS.fullmatch(found) else "'…'"


def _is_kind(number: str, text: str, start: int) -> bool:
    """Whether a number says what has failed, by the words that it stands between."""
    before = text[max(0, start - _BEFORE) : start].rstrip(' =:([').lower()
    if before.endswith(_WORDS) and not text[start - 1].isalnum():
        return before.endswith(_WORDS[-3:]) or len(number) < 4 and _OF_CODE.search(before) is not None
    return len(number) == 3 and number[0] in '12345' and _PHRASE.match(text, start + 3) is not None


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

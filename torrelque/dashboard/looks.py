"""What looks like a secret in a text, be it a payload's or an error's; it knows names and looks, and no meaning.

All patterns take a time that grows with the text and not with its square.
"""

import base64
import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator

__all__ = ['DOTS', 'KEYS', 'Looks']

DOTS = '•••'
"""Stands where a secret was."""

KEYS = (
    'password', 'passwd', 'passphrase', 'pwd', 'secret', 'token', 'authorization', 'credential', 'api_key',
    'access_key', 'private_key', 'cookie', 'card', 'cvv', 'cvc', 'ssn', 'iban',
)  # fmt: skip
"""Names of values that are secret, and of which names are that contain them; case, ``-``, ``_`` and spaces aside."""

LONGEST = 1 << 20
"""Characters of a text that are looked at; what is behind them is not shown."""
LEAST = 14
"""Characters that a secret has at the least that is known by its own looks."""
SHORT = 4
"""A name of so many letters or less must be at the beginning or the end of a word of a longer one, because ``ssn`` is
in ``class_name`` as well."""
_VALUE = 1 << 16
"""Characters that a value in brackets has at the most, before all that is behind it is taken for its rest."""

_WORD = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+')
_PEM = re.compile(r'-----BEGIN [A-Z0-9 ]{0,60}-----.*?(?:-----END [A-Z0-9 ]{0,60}-----|\Z)', re.DOTALL)
_PEM_END = re.compile(r'-----END [A-Z0-9 ]{0,60}-----')
_BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \r\n\t'
_RUN = re.compile(r'[\w.+/=-]{10,}')
_CHUNK = re.compile(r'[^\s\'"<>]{5,}')
_WEB = re.compile(r'(?:https?|wss?|ftps?)\Z', re.IGNORECASE)
_HOST = re.compile(r'[^/?#@]*')
_USER = 16
"""A name without a password in an address of the web may be a token, where it has so many characters."""
_BEARER = re.compile(r'\b(bearer[ \t]+(?:token\b[ \t:=]*)?)([^\s\'",;<>]{4,})', re.IGNORECASE)
_BASIC = re.compile(r'\b(basic[ \t]+)([A-Za-z0-9+/_-]{4,}={0,2})', re.IGNORECASE)
_NO_BEARER = {'token', 'tokens', 'auth', 'authentication', 'authorization', 'scheme', 'realm', 'error', 'format', DOTS}
# Beginnings that services give their keys, so that they can be told from other texts.
_ISSUED = {
    'gh': r'(?:gh[oprsu]_|github_pat_)\w{20,}', 'glpat-': r'glpat-[\w-]{16,}', 'xox': r'xox[a-z]-[\w-]{10,}',
    'k_live_': r'[prs]k_live_\w{10,}', 'k_test_': r'[prs]k_test_\w{10,}', 'sk-': r'(?<!\w)sk-[\w-]{20,}',
    'AKIA': r'(?<!\w)AKIA[0-9A-Z]{16}', 'ASIA': r'(?<!\w)ASIA[0-9A-Z]{16}', 'AIza': r'(?<!\w)AIza[\w-]{30,}',
    'npm_': r'(?<!\w)npm_\w{30,}', 'pypi-': r'(?<!\w)pypi-[\w-]{30,}', 'hvs.': r'(?<!\w)hvs\.[\w-]{20,}',
}  # fmt: skip
_ISSUED_PATTERNS = tuple((begin, re.compile(pattern)) for begin, pattern in _ISSUED.items())

# A name, maybe of two words, and what separates it from its value: `name: x`, `name=x`, `"name": "x"`, `name => x`,
# `form[name]=x`, `Key (name)=(x)`.
_PAIR = re.compile(
    r"""(?<![\w.$%-]) (-{0,2}[\w.$%][\w.$%-]{0,127}(?:[ ][\w-]{1,40})?)
        [\\"'`)\]]{0,4} [ \t]{0,8} (?: => | -> | := | [=!]={1,2} | [=:] ) [ \t]{0,8}""",
    re.VERBOSE,
)
_OPTION = re.compile(r"""(?<![\w-])(--[\w-]{2,60})([ \t]{1,8}|['"],[ \t]{0,8}b?['"])(?![-\s])([^\s'"]+)""")
_NUMBER = re.compile(r'[A-Z0-9]{2,6}(?:[ -][A-Z0-9]{1,6}(?!\w)){1,8}')
_QUOTE = re.compile(r'[bBrRfFuU]{0,2}(\\*["\'`])')
_REST = re.compile(r'[&;,](?=[\w.%\[\]-]{1,64}[=:])')
_TO_THE_END = ('authorization', 'cookie')
_NO_NAME = re.compile(r'(?:error|exception|warning|expired|failed|failure|notfound|missing|mismatch|required|\.py)\Z')
_SIGNED = re.compile(r'([?&](?:[\w-]*signature|sig)=)[^&\s\'"<>]+', re.IGNORECASE)
_ELEMENT = re.compile(r'<([\w:.-]{1,100})(?:\s[^<>]{0,500})?>([^<]+)')
_VALIDATED = re.compile(r'^(\S.{0,200})(\n[ \t].{0,500}?\[type=.{0,200}?input_value=)(.*)$', re.MULTILINE)


class Looks:
    """What secrets look like, and how values are called that are secret.

    :param keys: names of an application's own, besides `KEYS`.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        keys = tuple(keys)
        names = {plain for name in (*KEYS, *keys) if (plain := _plain(name))}
        self._long = tuple(sorted(name for name in names if len(name) > SHORT))
        self._short = tuple(sorted(name for name in names if len(name) <= SHORT))
        self._names = self._long + self._short
        # What a text has, of which one of the names may be told: the letters that it begins with.
        self._roots = sorted({_plain(name.strip(' -_.')[:SHORT]) for name in (*KEYS, *keys) if _plain(name)})
        self._root = re.compile('|'.join(map(re.escape, self._roots)))
        # The same keys come again and again; what is kept of them is bounded.
        self._known = functools.lru_cache(4096)(self._is_name)
        self.shown_name = functools.lru_cache(4096)(self._shown_name)

    def is_name(self, name: str) -> bool:
        """Whether the value of this name is secret."""
        return self._known(name) if len(name) <= 200 else self._is_name(name)

    def _shown_name(self, name: str) -> str | None:
        """A key as it may be shown; None where its value is secret."""
        return None if self.is_name(name) else self.hide(name)

    def _is_name(self, name: str) -> bool:
        plain = _plain(name)
        if any(one in plain for one in self._long):
            return True
        if not any(one in plain for one in self._short):
            return False
        words = [_plain(word) for word in _WORD.findall(unicodedata.normalize('NFKC', name))]
        words += [word.removesuffix('s') for word in (*words, plain)]
        return any(word.startswith(self._short) or word.endswith(self._short) for word in (*words, plain))

    def hide(self, text: str) -> str:
        """The text with `DOTS` for what looks like a secret in it.

        These are found: JWT; PEM blocks; keys with a beginning that their service gives them; user and password of an
        address; what follows ``Bearer`` or ``Basic``; and values of names that are secret, as in ``password=…``,
        ``token: …``, ``"api_key": "…"``, ``<secret>…</secret>``, or in a report of pydantic.
        """
        if len(text) < LEAST and text.isalnum():
            return text
        if len(text) > LONGEST:
            text = f'{text[:LONGEST]}…'
        if len(text) >= LEAST:
            text = _hide_issued(text)
        if '@' in text and '://' in text:
            text = _CHUNK.sub(_hide_address, text)
        lower = text.lower()
        if 'bearer' in lower:
            text = _BEARER.sub(_hide_bearer, text)
        if 'basic' in lower:
            text = _BASIC.sub(_hide_basic, text)
        if '=' in text or ':' in text or '>' in text or '--' in text:
            text = self._hide_values(text, lower)
        return text

    def _hide_values(self, text: str, lower: str) -> str:
        """Values of what has a name."""
        if 'sig=' in lower or 'signature=' in lower:
            text = _SIGNED.sub(rf'\1{DOTS}', text)
        if text.isascii() and not self._has_root(lower):
            return text
        folded = _plain(text)
        if not any(map(folded.__contains__, self._names)):
            return text
        if '<' in text:
            text = _ELEMENT.sub(self._hide_element, text)
        if '[type=' in text:
            text = _VALIDATED.sub(self._hide_validated, text)
        if '--' in text:
            text = _OPTION.sub(self._hide_option, text)
        return ''.join(self._pairs(text))

    def _has_root(self, lower: str) -> bool:
        # One pattern is faster in a short text, and a search for each in a long one.
        if len(lower) < 200:
            return self._root.search(lower) is not None
        return any(map(lower.__contains__, self._roots))

    def _pairs(self, text: str) -> Iterator[str]:
        done = 0
        while (found := _PAIR.search(text, done)) is not None:
            name, start = found[1], found.end()
            if not self.is_name(name) or _NO_NAME.search(_plain(name)) or name.endswith('.py'):
                yield text[done:start]
                done = start
                continue
            end = _end_of(text, start, any(word in _plain(name) for word in _TO_THE_END))
            yield text[done:start]
            yield _hide_value(text[start:end])
            done = end
        yield text[done:]

    def _hide_element(self, found: re.Match[str]) -> str:
        hidden = self.is_name(found[1].rpartition(':')[2]) and not found[2].isspace()
        return found[0][: found.start(2) - found.start()] + DOTS if hidden else found[0]

    def _hide_option(self, found: re.Match[str]) -> str:
        return f'{found[1]}{found[2]}{DOTS}' if self.is_name(found[1]) else found[0]

    def _hide_validated(self, found: re.Match[str]) -> str:
        return f'{found[1]}{found[2]}{DOTS}]' if self.is_name(found[1]) else found[0]


def _plain(name: str) -> str:
    """A name, or a text, without what does not matter in names."""
    if not name.isascii():
        name = unicodedata.normalize('NFKC', name).casefold()
    return name.lower().replace('_', '').replace('-', '').replace(' ', '').replace('.', '')


def _hide_value(value: str) -> str:
    """Whether there is one is told, and its quotes stay."""
    if value in ('', 'None', 'null', 'True', 'False', 'true', 'false'):
        return value
    quote = _QUOTE.match(value)
    if quote is None:
        return DOTS
    return f'{quote[0]}{DOTS}{quote[1] if value.endswith(quote[1]) and len(value) > len(quote[0]) else ""}'


def _hide_issued(text: str) -> str:
    """Blocks, web tokens, and keys that their service has given a beginning."""
    if '-----' in text:
        text = _hide_blocks(text)
    if 'eyJ' in text:
        text = _RUN.sub(_hide_web_token, text)
    if any(map(text.__contains__, _ISSUED)):
        for begin, pattern in _ISSUED_PATTERNS:
            if begin in text:
                text = pattern.sub(DOTS, text)
    return text


def _hide_blocks(text: str) -> str:
    text = _PEM.sub(DOTS, text)
    # Of an error only the end may be there: then the block has no beginning.
    pieces, done = [], 0
    for found in _PEM_END.finditer(text):
        pieces += [text[done : found.start()].rstrip(_BASE64), DOTS]
        done = found.end()
    return ''.join([*pieces, text[done:]]) if pieces else text


def _hide_web_token(found: re.Match[str]) -> str:
    run = found[0]
    head, _, rest = run.partition('eyJ')
    # The signature may be cut off, or be missing; the first part alone says nothing.
    first, dot, second = rest.partition('.')
    return f'{head}{DOTS}' if dot and len(first) >= 5 and second.strip('.') else run


def _hide_address(found: re.Match[str]) -> str:
    """What stands before the host in an address: a password with a slash in it, which is a common mistake, ends at the
    last @.  Of an address of the web a port is not taken for a password, though the path behind it may have an @."""
    chunk = found[0]
    last, start = chunk.rfind('@'), chunk.find('://')
    while 0 <= start < last:
        begin = start + 3
        end = _end_of_user(chunk, begin, last, _WEB.search(chunk, max(0, start - 8), start) is not None)
        if end > begin:
            return chunk[:begin] + DOTS + chunk[end:]
        start = chunk.find('://', begin)
    return chunk


def _end_of_user(chunk: str, begin: int, last: int, is_web: bool) -> int:
    if not is_web:
        return last if ':' in chunk[begin:last] else begin
    host = _HOST.match(chunk, begin, last)
    end = begin if host is None else host.end()
    _, colon, port = chunk[begin:end].rpartition(':')
    if colon:
        return begin if port.isdigit() and chunk[end] != '@' else last
    return end if chunk[end] == '@' and end - begin >= _USER else begin


def _hide_bearer(found: re.Match[str]) -> str:
    return found[0] if found[2].rstrip('.:').lower() in _NO_BEARER else f'{found[1]}{DOTS}'


def _hide_basic(found: re.Match[str]) -> str:
    data = found[2].rstrip('=').translate({45: '+', 95: '/'})
    try:
        # One that is cut off is read as far as it goes.
        named = b':' in base64.b64decode(data[: len(data) - (len(data) % 4 == 1)] + '=' * (-len(data) % 4))
    except ValueError:
        named = False
    return f'{found[1]}{DOTS}' if named or found[2].endswith('=') else found[0]


def _end_of(text: str, start: int, whole: bool) -> int:
    """Where a value ends that begins there.

    :param whole: whether it goes to the end of the line, spaces or not.
    """
    quote = _QUOTE.match(text, start)
    if quote is not None:
        return _end_of_quoted(text, quote.end(), quote[1])
    if text[start : start + 1] in ('[', '{', '('):
        return _end_of_brackets(text, start)
    line = _find(text, '\n', start)
    if whole:
        return start + len(text[start:line].rstrip())
    number = _NUMBER.match(text, start, line)
    end = start if number is None else number.end()
    while end < line and not text[end].isspace() and text[end] not in '"\'<>`':
        end += 1
    rest = _REST.search(text, start, end)
    end = end if rest is None else rest.start()
    return start + len(text[start:end].rstrip(',;)]}.'))


def _find(text: str, sign: str, start: int) -> int:
    found = text.find(sign, start)
    return len(text) if found < 0 else found


def _end_of_quoted(text: str, start: int, quote: str) -> int:
    """Where a text in quotes ends, with its last quote; one that is cut off ends with the text."""
    place = start
    while (place := text.find(quote, place)) >= 0:
        before = place
        while before > start and text[before - 1] == '\\':
            before -= 1
        if (place - before) % 2 == 0 or len(quote) > 1:
            return place + len(quote)
        place += 1
    return len(text)


def _end_of_brackets(text: str, start: int) -> int:
    depth = 0
    for place in range(start, min(len(text), start + _VALUE)):
        if text[place] in '[{(':
            depth += 1
        elif text[place] in ']})':
            depth -= 1
            if not depth:
                return place + 1
    return len(text)



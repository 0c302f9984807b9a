"""The only place that makes text fit to be shown: nothing in data writes to a terminal, and no password is printed."""

import re

# What stands before the host in an address.  In one of a server it may be anything, because a password with a slash,
# which has to be encoded, is a common mistake, and shown with the complaint about it; of another kind of address it is
# what has a colon in it.  What is told of where a password belongs is none.
_SECRETS = re.compile(
    r'\b((?:rediss?|valkeys?|unix)(?:\+\w+)?://)(?!(?:USER)?:PASSWORD@HOST\b)[^\s\'"]*@'
    r'|(\b[\w+.-]+://)(?!(?:USER)?:PASSWORD@HOST\b)[^\s/\'"?#@]*:[^\s/\'"?#]*@'
    r'|([?&]\w*password=)[^&\s\'"]*',
    re.I,
)


def without_secrets(text: str) -> str:
    """The text with ``***`` for what stands before the host in an address of a server: name and password."""
    if '://' not in text and 'password=' not in text:
        return text
    return _SECRETS.sub(_hidden, text)


def _hidden(match: re.Match[str]) -> str:
    server, other, query = match.groups()
    return f'{query}***' if query else f'{server or other}***@'


def as_text(word: str) -> str:
    """A word of the command line, or of the environment: what is UTF-8 is read so, whatever the locale."""
    if word.isascii():
        return word
    try:
        return word.encode('utf-8', 'surrogateescape').decode()
    except UnicodeError:
        return word


def visible(text: str) -> str:
    """One line: control characters, ends of lines, marks of direction and the like stand there as Python escapes."""
    if text.isprintable():
        return text
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def shown(text: str) -> str:
    """One line that may be shown, whatever is in it."""
    return visible(without_secrets(text))


def shown_lines(text: str) -> str:
    """The same of a text that may have several lines, such as a traceback."""
    return '\n'.join(visible(line.expandtabs(4)) for line in without_secrets(text).split('\n'))

"""What a terminal sends, as names of keys.  The only place that knows escape sequences of keys."""

import codecs
import re

_SEQUENCE = re.compile(r'\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])')
_NAMES = {
    'A': 'up', 'B': 'down', 'C': 'right', 'D': 'left', 'H': 'home', 'F': 'end', 'Z': 'back-tab',
    '1~': 'home', '4~': 'end', '5~': 'page-up', '6~': 'page-down', '7~': 'home', '8~': 'end',
}  # fmt: skip
_PLAIN = {'\r': 'enter', '\n': 'enter', '\t': 'tab', '\x7f': 'backspace', '\x08': 'backspace', '\x0c': 'redraw',
          '\x15': 'clear', '\x1b': 'escape'}  # fmt: skip


class Keys:
    """Cuts what was read into keys: a printable character is itself, others have a name, what is unknown is left out.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder('utf-8')('replace')
        self._text = ''

    @property
    def pending(self) -> bool:
        """Whether an escape was read that may be a key of its own, or the beginning of a sequence."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys of what was read, as far as they are whole."""
        self._text += self._decoder.decode(data)
        found: list[str] = []
        while self._text:
            if self._text[0] != '\x1b':
                found += self._take(1)
            elif (match := _SEQUENCE.match(self._text)) is not None:
                sequence, self._text = match[0], self._text[match.end() :]
                found += [name] if (name := _NAMES.get(sequence[2:])) else []
            elif re.fullmatch(r'\x1b(?:\[[0-?]*[ -/]*|O)?', self._text):
                break
            else:
                found += self._take(1)
        return found

    def flush(self) -> list[str]:
        """The keys of what was read, where nothing comes behind it."""
        found = ['escape'] if self._text else []
        self._text = ''
        return found

    def _take(self, length: int) -> list[str]:
        character, self._text = self._text[:length], self._text[length:]
        if character in _PLAIN:
            return [_PLAIN[character]]
        return [character] if character.isprintable() else []

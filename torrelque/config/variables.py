"""Variables of the environment in the texts of a file: ``${NAME}`` and ``${NAME:-default}``; and ``$$`` is ``$``."""

import re
from collections.abc import Mapping
from typing import Any

from .problems import Keys

_PLACE = re.compile(r'\$(?:\$|\{([^}]*)(\}?))')
_SHORT = 3
"""Characters of what is no secret."""
_NAME = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?', re.S)


class Filled:
    """What a file has once its variables are known."""

    def __init__(self, data: Any, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.raw: dict[Keys, str] = {}
        """Texts that had a variable, as they were written."""
        self._values: dict[Keys, str] = {}
        self.missing: list[tuple[Keys, str]] = []
        """Keys, and what is wrong with a variable there."""
        self.data = self._fill(data, ())

    def _fill(self, value: Any, keys: Keys) -> Any:
        if isinstance(value, dict):
            return {name: self._fill(one, (*keys, name)) for name, one in value.items()}
        if isinstance(value, list):
            return [self._fill(one, (*keys, str(place))) for place, one in enumerate(value)]
        return self._fill_text(value, keys) if isinstance(value, str) and '$' in value else value

    def _fill_text(self, text: str, keys: Keys) -> str:
        def value_of(match: re.Match[str]) -> str:
            if match[0] == '$$':
                return '$'
            self.raw[keys] = text
            named = _NAME.fullmatch(match[1])
            if not match[2]:
                self.missing.append((keys, f'{match[0]} has no end: a variable is ${{NAME}}, and $$ is a dollar'))
                return ''
            if named is None:
                words = 'names no variable: these are ${NAME} and ${NAME:-default}, and $$ is a dollar'
                self.missing.append((keys, f'{match[0]} {words}'))
                return ''
            name, default = named.groups()
            found = self._environment.get(name)
            if default is not None:
                return found or default
            if found is None:
                self.missing.append((keys, f'the variable {name} is not set; ${{{name}:-…}} has a default'))
            return found or ''

        filled = _PLACE.sub(value_of, text)
        if keys in self.raw:
            self._values[keys] = filled
        return filled

    def unfilled(self, text: str, keys: Keys) -> str:
        """What is told of a key, without what a variable has."""
        for one, value in self._values.items():
            if one[: len(keys)] == keys:
                text = text.replace(repr(value), repr(self.raw[one]))
                text = text.replace(value, self.raw[one]) if len(value) > _SHORT else text
        return text

    def is_missing(self, keys: Keys) -> bool:
        """Whether a value, or something in it, lacks a variable."""
        return any(one[: len(keys)] == keys for one, _ in self.missing)

    def was_written(self, keys: Keys) -> str | None:
        """How a value, or what is in it, was written, where it had a variable."""
        return next((raw for one, raw in self.raw.items() if one[: len(keys)] == keys), None)

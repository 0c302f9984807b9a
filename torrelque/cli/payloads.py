"""What is enqueued, now or by a schedule: a value of JSON, a text, or a call of a decorated function."""

import argparse
import json
import math
import sys
from typing import Any

from .failure import Failure


def add_payload(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what the task is."""
    parser.add_argument('payload', metavar='PAYLOAD', nargs='?', help='the task, as JSON; - is standard input')
    parser.add_argument('--text', action='store_true', help='PAYLOAD is a text, and no JSON')


def add_call(parser: argparse.ArgumentParser) -> None:
    """Add those that say which call it is, where it is one."""
    parser.add_argument('--task', metavar='NAME',
        help='a call of this decorated function; with --app its name and arguments are checked, and its own options '
        'hold')  # fmt: skip
    parser.add_argument('--args', metavar='JSON', help="the arguments of the call: '[1, \"a\"]'")
    parser.add_argument('--kwargs', metavar='JSON', help='those that are given by name: \'{"to": "joe@doe.com"}\'')


def check_call(found: argparse.Namespace) -> None:
    """Refuse options that do not go with each other.

    :raises Failure: some do not.
    """
    if found.task is None and (found.args is not None or found.kwargs is not None):
        raise Failure('--args and --kwargs are those of a call: name its function with --task')
    if found.task is not None and (found.payload is not None or found.text or found.lines):
        raise Failure('a call of --task has --args and --kwargs, and no PAYLOAD, --text or --lines')
    if found.task is not None and len({*found.queue}) > 1:
        raise Failure('a call goes to one queue: name it once with -q, or have it go to that of its function')


def read_tasks(found: argparse.Namespace) -> list[Any]:
    """The payloads, all of them read before the first is sent.

    :raises Failure: one is no JSON.
    """
    if found.task is not None:
        args, kwargs = _read_json(found.args or '[]', '--args'), _read_json(found.kwargs or '{}', '--kwargs')
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise Failure("--args is a JSON list, such as '[1]', and --kwargs a JSON object, such as '{\"a\": 1}'")
        call = {'task': found.task, 'args': args, 'kwargs': kwargs}
        return [{name: value for name, value in call.items() if value or name == 'task'}]
    if not found.lines:
        text = _read_input().removesuffix('\n') if found.payload == '-' else found.payload
        return [text if found.text else _read_json(text, 'PAYLOAD')]
    lines = enumerate(_read_input().split('\n'), 1)
    return [line if found.text else _read_json(line, f'line {n}') for n, line in lines if line.strip()]


def _read_input() -> str:
    return sys.stdin.buffer.read().decode('utf-8', 'surrogateescape')


def _read_json(text: str, what: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        more = '; --text sends a text as it is' if what != '--args' and what != '--kwargs' else ''
        raise Failure(f'{what} is no JSON: {exc}{more}') from None


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f'{text} is too large a number')
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f'{name} is no number of JSON')

"""The only place that reads the history of a state: its failed attempts, as ``_remember.lua`` writes them."""

from collections.abc import Iterator

from torrelque.model import TorrelqueAttempt


def read_history(value: bytes | None) -> tuple[TorrelqueAttempt, ...]:
    """Failed attempts as they stand in a state, a line for each; a line that is none of the queue's is left out."""
    return () if value is None else tuple(attempt for line in value.split(b'\n') for attempt in _attempts_in(line))


def _attempts_in(line: bytes) -> Iterator[TorrelqueAttempt]:
    try:
        number, start, end, error = line.split(b' ', 3)
        yield TorrelqueAttempt(int(number), int(start) / 1000, int(end) / 1000, error.decode('utf-8', 'replace'))
    except (ValueError, OverflowError):
        return

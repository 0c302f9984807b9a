"""Which text a scrape asks for."""

from collections.abc import Callable
from typing import Any

from prometheus_client import exposition

Encoder = Callable[[Any], bytes]
"""Makes the text of a collector."""


def choose(accept: str) -> tuple[Encoder, str]:
    """What makes the text that a header asks for, and what its type is called."""
    try:
        return exposition.choose_encoder(accept)
    except (ValueError, TypeError):
        # The version that it asks for is no number.
        return exposition.choose_encoder('')

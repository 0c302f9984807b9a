"""Where a command listens."""

import os
import socket

from .failure import Exit, Failure

__all__ = ['listen_at', 'spelt']


def listen_at(host: str, port: int) -> socket.socket:
    """A socket that listens.

    :raises Failure: there is no such address, or its port is taken.
    """
    from torrelque.monitor.listening import listen

    try:
        return listen(host, port)
    except OSError as exc:
        # What is wrong with a name has a number of its own, below 0; of a port the text has the address once more.
        reason = os.strerror(exc.errno) if exc.errno is not None and exc.errno > 0 else exc.strerror
        raise Failure(f'nothing can listen at {spelt(host, port)}: {reason}', Exit.ILL) from None


def spelt(host: str, port: int) -> str:
    """An address as it is written."""
    return f'[{host}]:{port}' if ':' in host else f'{host}:{port}'

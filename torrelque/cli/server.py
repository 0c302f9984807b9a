"""Which server a command talks to, and how it is named to people: without name and password."""

import os
from typing import Any

from torrelque import TorrelqueError
from torrelque.tasks.address import find_url, make_client
from torrelque.worker.places import describe

from .failure import Failure

__all__ = ['connect', 'describe', 'is_named']

VARIABLES = ('TORRELQUE_URL', 'REDIS_URL')


def is_named(url: str | None) -> bool:
    """Whether somebody has said which server is meant: the command line, a file, or the environment."""
    return bool(url or any(os.environ.get(name) for name in VARIABLES))


def connect(url: str | None) -> Any:
    """A client of the server that the command line, or else the environment, names.  Nothing is connected yet.

    :raises Failure: it is no address.
    """
    try:
        return make_client(find_url(url))
    except TorrelqueError:
        # The cause may tell a part of a password that was taken for a port.
        given = ('--url',) if url else (name for name in VARIABLES if os.environ.get(name))
        raise Failure(
            f'{next(iter(given))} is no address of a server: redis://HOST:PORT/DB, rediss://…, unix:///PATH, '
            'redis+sentinel://HOST:PORT,…/SERVICE, redis+cluster://HOST:PORT,… ; in a password, / # ? @ : and % are '
            'percent-encoded'
        ) from None

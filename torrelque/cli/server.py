"""Which server a command talks to, and how it is named to people: without name and password."""

import os
from typing import Any

from torrelque import TorrelqueError
from torrelque.tasks.address import find_url, make_client
from torrelque.worker.places import describe

from .failure import Failure

__all__ = ['connect', 'describe']

VARIABLES = ('TORRELQUE_URL', 'REDIS_URL')


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

"""A server of its own for the workers of a file, which is what ``server.embedded`` asks for."""

import contextlib
import logging
from collections.abc import Iterator
from urllib.parse import urlsplit

from torrelque import TorrelqueError

from .failure import Exit, Failure
from .options import RunOptions

logger = logging.getLogger(__package__)


@contextlib.contextmanager
def hosted(options: RunOptions) -> Iterator[None]:
    """Have the server that the file asks for, if it does, for the length of the block.

    Who runs one worker of several, or is started by another process, finds the server there.

    :raises Failure: it cannot be had, such as because its port is taken.
    """
    filed = options.filed
    if filed is None or filed.embedded is None or options.child is not None or options.only is not None:
        yield
        return
    from torrelque.embedded import Server
    from torrelque.tasks.address import DEFAULT

    url = urlsplit(filed.server or DEFAULT)
    server = Server(filed.embedded, config={'port': str(url.port or 6379)})
    try:
        server.__enter__()
    except TorrelqueError as exc:
        raise Failure(str(exc), Exit.ILL) from None
    try:
        logger.info('the embedded server is at port %d, with its data in %s', url.port or 6379, filed.embedded)
        yield
    finally:
        server.__exit__()

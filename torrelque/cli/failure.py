"""How a command ends: its exit codes, and the exception that ends it with a sentence."""

import enum
import errno
from collections.abc import Sequence

UNWRITABLE = frozenset({errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, 'EDQUOT', errno.ENOSPC)})
"""Errors of a disk that takes no more."""


class Exit(enum.IntEnum):
    """What scripts and service managers may rely on."""

    WELL = 0
    """All was done, or the end was asked for and was graceful."""
    ILL = 1
    """Something of the application's own has failed: a module cannot be imported, a lifespan raises."""
    USAGE = 2
    """The command line cannot be meant, or an extra is missing.  Starting it again does not help."""
    AWAY = 3
    """The server cannot be reached."""
    REFUSED = 4
    """The server, or its access control, refuses us."""
    INTERRUPTED = 130
    """Ctrl-C, before there was anything that could end in good order."""


class Failure(Exception):  # noqa: N818 - it is what a command ends with, not an error of the package
    """Ends a command: the sentence is shown, and the traceback of ``error`` before it, where there is one.

    :param code: what the process ends with.
    :param error: the application's own exception.
    :param lines: what is shown before the sentence, a line each.
    """

    def __init__(
        self, sentence: str, code: int = Exit.USAGE, error: BaseException | None = None, lines: Sequence[str] = ()
    ) -> None:
        super().__init__(sentence)
        self.code = int(code)
        self.error = error
        self.lines = lines


def is_unwritable(error: BaseException) -> bool:
    """Whether an error is that of standard output on a disk that takes no more; servers have no such errors."""
    return isinstance(error, OSError) and error.errno in UNWRITABLE

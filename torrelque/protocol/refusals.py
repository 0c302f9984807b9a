"""How long a server is waited for, and which of its errors only say: not now, or not here."""

import redis.exceptions

from .replies import error_code, own_error

CONNECT_TIMEOUT = 3.0
"""s for one attempt to connect."""
SILENT = 3.0
"""s without any byte after which a connection with a reply outstanding counts as dead."""
REPEATING = 10.0
"""s after which a call that could not be carried out fails."""

NOT_RUN = frozenset({'LOADING', 'TRYAGAIN', 'ASK', 'BUSY', 'UNBLOCKED', 'MAXCLIENTS', 'NOSCRIPT'})
"""Errors that say: not carried out, send again in a moment."""
ELSEWHERE = frozenset({'READONLY', 'MOVED', 'CLUSTERDOWN', 'MASTERDOWN'})
"""Errors that say: not carried out, and not here; connect anew."""

_FATAL = (redis.exceptions.AuthenticationError, redis.exceptions.AuthorizationError, redis.exceptions.ResponseError)
_PASSING = (
    redis.exceptions.AskError,  # and MovedError, which is one
    redis.exceptions.ClusterDownError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
)


def final_error(error: Exception) -> Exception | None:
    """Of an attempt to connect that failed: why, as one of our errors, where time does not mend it."""
    if isinstance(error, TypeError):
        # The client was given an option that none of its connections takes.
        return error
    # On a unix socket the client library wraps the server's error in one of its own.
    for exc in (error, error.__cause__):
        if isinstance(exc, _FATAL) and error_code(str(exc)) in NOT_RUN:
            return None
        if isinstance(exc, _FATAL) and not isinstance(exc, _PASSING):
            return own_error(exc)
    return None

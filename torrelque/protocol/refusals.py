"""Errors of the server: which of them say not now, which not here, and which never."""

import re

import redis.exceptions

from torrelque.error import (
    ServerAuthenticationError,
    ServerOutOfMemoryError,
    ServerPermissionError,
    ServerReadOnlyError,
    ServerStaleError,
    TorrelqueServerError,
)

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
_NESTED = re.compile(r'(?:^|-)(OOM|READONLY|MISCONF|NOREPLICAS|NOPERM|WRONGTYPE|CLUSTERDOWN|MASTERDOWN) ')
_DENIED = re.compile("ACL failure in script|The user executing the script can't ")
"""What servers say of a right that is missing within a script: Redis 7 and Valkey, Redis 6."""
_CLASSES: dict[str, type[TorrelqueServerError]] = {
    'OOM': ServerOutOfMemoryError,
    'READONLY': ServerReadOnlyError,
    'NOPERM': ServerPermissionError,
    'NOAUTH': ServerAuthenticationError,
    'STALE': ServerStaleError,
}
_WRITELESS = frozenset({'NOREPLICAS', 'MISCONF', 'OOM'})
"""Errors of a server that takes no writes at the moment."""
_OWN = (
    (redis.exceptions.AuthenticationError, ServerAuthenticationError),
    (redis.exceptions.AuthorizationError, ServerAuthenticationError),
    (redis.exceptions.NoPermissionError, ServerPermissionError),
)


def final_error(error: Exception) -> Exception | None:
    """Of an attempt to connect that failed: why, as one of our errors, where time does not mend it."""
    if isinstance(error, TypeError):
        # A TypeError says that the client was given an option that its connections do not take.
        return error
    # On a unix socket the client library wraps the server's error in one of its own.
    for exc in (error, error.__cause__):
        if isinstance(exc, _FATAL) and error_code(str(exc)) in NOT_RUN:
            return None
        if isinstance(exc, _FATAL) and not isinstance(exc, _PASSING):
            return own_error(exc)
    return None


def own_error(error: BaseException) -> redis.exceptions.RedisError:
    """An error of the server that the client library has raised, as `server_error` would have made it."""
    for kind, ours in _OWN:
        if isinstance(error, kind):
            return ours(str(error))
    return TorrelqueServerError(str(error))


def error_code(message: str) -> str:
    """The first word of an error; of one inside a script too, which older servers wrap."""
    if message.startswith('ERR max number of clients'):
        return 'MAXCLIENTS'
    nested = _NESTED.search(message)
    if nested:
        return nested[1]
    return 'NOPERM' if _DENIED.search(message) else message.partition(' ')[0]


def server_error(message: str, resent: bool = True) -> TorrelqueServerError:
    """An error of the server: one of ours, and of the class that the client library would raise.

    :param resent: whether the call may have been carried out before.  One that was not has had no effect where the
        server takes no writes: of a script it refuses the first write, or none.
    """
    code = error_code(message)
    error = _CLASSES.get(code, TorrelqueServerError)(message)
    error.passing = code in _WRITELESS
    error.untouched = error.passing and not resent
    return error

"""Where something listens: addresses as they are written, and sockets.

Other layers may import the names in `__all__`.
"""

import ipaddress
import re
import socket

from torrelque import TorrelqueTypeError, TorrelqueValueError

__all__ = ['listen', 'parse_address', 'read_address', 'url_of']

_ADDRESS = re.compile(r'(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]/@]*)):([0-9]{1,5})')


def read_address(text: str) -> tuple[str, int] | None:
    """Host and port of ``127.0.0.1:8080``, ``[::1]:8080``, ``localhost:0``; ``:8080`` is all addresses of this machine.
    None is: it is no address."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or int(match[3]) > 65535:
        return None
    return match[1] or match[2] or '0.0.0.0', int(match[3])


def parse_address(bind: str | tuple[str, int]) -> tuple[str, int]:
    """Host and port, of a text as in `read_address` or of such a pair.

    :raises TorrelqueTypeError: it is neither.
    :raises TorrelqueValueError: it is no address.
    """
    if isinstance(bind, tuple):
        host, port = bind
        return host, port
    if not isinstance(bind, str):
        raise TorrelqueTypeError(f'bind must be an address, such as 127.0.0.1:8080, not {bind!r}')
    found = read_address(bind)
    if found is None:
        raise TorrelqueValueError(f'bind must be an address, such as 127.0.0.1:8080 or [::]:8080, not {bind!r}')
    return found


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    :param host: an address, or a name that has one.
    :param port: 0 is any that is free.
    :raises OSError: there is no such address, or its port is taken.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    both = family == socket.AF_INET6 and ipaddress.ip_address(address[0]).is_unspecified and socket.has_dualstack_ipv6()
    return socket.create_server(address[:2], family=family, backlog=100, dualstack_ipv6=both)


def url_of(listener: socket.socket) -> str:
    """What to type to reach it from this machine."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        # That is no address that could be asked for.
        host = 'localhost'
    return f'http://{f"[{host}]" if ":" in host else host}:{port}/'

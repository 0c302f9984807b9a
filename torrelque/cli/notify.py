"""Tells systemd how the service is: ready, stopping, alive; where nobody asked to be told, it does nothing."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable

STATUS = 5.0
"""s from one look to the next at whether the status is another one."""


class Notify:
    """What the environment says of the service manager.  The variables are taken out of it, because programs that are
    started from here are not the service."""

    def __init__(self) -> None:
        address = os.environ.pop('NOTIFY_SOCKET', '')
        # An address that begins with @ is one of Linux's abstract names, which begin with a zero byte.
        self._address = f'\0{address[1:]}' if address.startswith('@') else address
        pause, pid = os.environ.pop('WATCHDOG_USEC', ''), os.environ.pop('WATCHDOG_PID', '')
        ours = pid in ('', str(os.getpid()))
        self._pause = int(pause) / 2_000_000 if self._address and ours and pause.isdecimal() else 0.0

    def tell(self, words: str) -> None:
        """Send ``READY=1`` and the like; a manager that does not listen is no failure."""
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
                to.setblocking(False)
                to.sendto(words.encode(), self._address)

    async def keep_status(self, status: Callable[[], str]) -> None:
        """Tell in a few words what there is to see, whenever that is something else, until cancelled."""
        last = ''
        while self._address:
            if (now := status()) != last:
                self.tell(f'STATUS={now}')
                last = now
            await asyncio.sleep(STATUS)

    def reloading(self) -> None:
        """Say that the service begins anew, until it says ``READY=1`` again."""
        self.tell(f'RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}')

    async def keep_alive(self, fine: Callable[[float], bool] = lambda within: True) -> None:
        """Say that we are alive while the event loop turns, twice as often as a watchdog wants it, until cancelled.

        :param fine: asked whether all is well, with the time (s) within which the watchdog wants to hear of it.
        """
        while self._pause:
            if fine(2 * self._pause):
                self.tell('WATCHDOG=1')
            await asyncio.sleep(self._pause)

"""Watches that read: what they know of the server, and what they are told."""

from __future__ import annotations

import asyncio
import logging

import pytest

from torrelque import Torrelque
from torrelque.aio.setting import Mode


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def until_mode(queue: Torrelque, mode: Mode) -> None:
    assert queue._session is not None
    while queue._session.hub._setting.mode is not mode:
        await asyncio.sleep(0.005)


async def until_settled(queue: Torrelque) -> None:
    """Wait until nothing is read any more but by the schedule."""
    await until_mode(queue, Mode.READING)
    assert queue._session is not None
    its = queue._session.hub
    while its._reading or its._marked or not all(its._listener._channels.values()):
        await asyncio.sleep(0.005)

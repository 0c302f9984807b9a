"""Asks pages of health over HTTP, and says what came of it."""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.request
from typing import NamedTuple

PATIENCE = 60.0
"""s after which an answer that was waited for is taken for missing."""


class Page(NamedTuple):
    """An answer; its status is 0 where there was none in time."""

    status: int
    text: str = ''


def fetch(url: str, timeout: float = 10.0, method: str = 'GET', accept: str = '*/*') -> Page:
    """Ask for a page, for as long (s) as an orchestrator would wait."""
    request = urllib.request.Request(url, method=method, headers={'accept': accept})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Page(answer.status, answer.read().decode())
    except urllib.error.HTTPError as exc:
        with exc:
            return Page(exc.code, exc.read().decode())
    except OSError:
        return Page(0)


async def get(url: str, timeout: float = 10.0, method: str = 'GET', accept: str = '*/*') -> Page:
    """The same, while the event loop goes on."""
    return await asyncio.to_thread(fetch, url, timeout, method, accept)


async def get_until(url: str, status: int) -> Page:
    """Ask until the answer has a status."""
    while (page := await get(url)).status != status:
        await asyncio.sleep(0.005)
    return page


def fetch_until(url: str, status: int, timeout: float = 2.0) -> Page:
    """The same, from code without an event loop."""
    end = time.monotonic() + PATIENCE
    while (page := fetch(url, timeout)).status != status:
        assert time.monotonic() < end, f'{url} is {page}'
        time.sleep(0.02)
    return page

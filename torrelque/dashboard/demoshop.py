"""The functions of the demo: an imagined shop that sends mails, makes reports and cuts films.

They wait where others would work.  Whether one fails depends on its arguments and its attempt alone, so a demo fails as
often as any other; what fails at a first attempt only is well again once somebody has redriven it.
"""

import asyncio
import errno
import json
import os
import smtplib
import string
import subprocess
from typing import Any

from torrelque.tasks import current

FILE = 'shop/tasks.py'
"""What tracebacks of these functions call this file."""

FRAMES = 24
"""Frames of a film that are rendered in a second."""


class ProviderError(Exception):
    """Somebody who was asked does not answer as agreed."""


# Mails


async def send_receipt(order: int, to: str, total: float, api_token: str) -> dict[str, Any]:
    """Send what was bought; of some orders the server of mails hangs up once, and some addresses are refused."""
    await _take(0.04 + order % 9 / 50)
    text = _fill('Dear $name, thank you for your order $order.', {'name': to.partition('@')[0], 'order': order})
    if order % 23 == 0 and current().attempt == 1:
        _hang_up()
    return _deliver(to, text)


async def send_newsletter(issue: str, to: dict[str, str]) -> dict[str, Any]:
    """Send an issue to somebody, whose first name has to be known."""
    await _take(0.15 + len(to['address']) % 5 / 20)
    return _deliver(to['address'], _fill('Dear $first_name, here is $issue.', {**to, 'issue': issue}))


async def send_password_reset(user: dict[str, str], reset_token: str) -> dict[str, Any]:
    """Send a link."""
    await _take(0.05)
    return _deliver(user['email'], _fill('https://shop.example/reset/$token', {'token': reset_token}))


async def remind_of_cart(cart: int, to: str) -> dict[str, Any]:
    """Remind somebody of what was left in a cart."""
    await _take(0.2)
    return _deliver(to, _fill('Your cart $cart is still there.', {'cart': cart}))


async def collect_bounces() -> int:
    """Look for mails that came back."""
    await _take(0.3)
    return 0


def _fill(template: str, values: dict[str, Any]) -> str:
    return string.Template(template).substitute(values)


def _deliver(to: str, text: str) -> dict[str, Any]:
    if to.endswith('.invalid'):
        raise smtplib.SMTPRecipientsRefused({to: (550, b'5.1.1 no such user here')})
    return {'accepted': [to], 'size': len(text)}


def _hang_up() -> None:
    raise smtplib.SMTPServerDisconnected('Connection unexpectedly closed')


# Reports


async def extract(source: dict[str, str]) -> dict[str, Any]:
    """Read rows from somewhere, of which the oldest has few."""
    await _take(1 if source['name'] == 'legacy-crm' else 6)
    return {'source': source['name'], 'rows': len(source['name']) * 1370}


async def clean(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is no use."""
    await _take(9)
    return {**data, 'rows': data['rows'] * 97 // 100}


async def audit(data: dict[str, Any]) -> str:
    """Compare sums; those of one source are wrong at first."""
    await _take(1)
    if data['source'] == 'legacy-crm' and current().attempt == 1:
        booked = data['rows'] * 12
        raise ValueError(f'the ledger has {booked} and the export {booked - 35}: rows are missing')
    return 'sums agree'


async def load(parts: list[Any]) -> str:
    """Write the report."""
    await _take(4)
    return f'{parts[0]["rows"]} rows; {parts[1]}'


async def export_csv(tenant: str, month: int, database: dict[str, str]) -> dict[str, Any]:
    """Write the sales of a month into a file; a shop that sold nothing has no mean."""
    await _take(0.6 + month % 5 / 2)
    sold = [] if month % 29 == 0 else [tenant] * (month % 7 + 3)
    return {'file': f'{tenant}-{month}.csv', 'host': database['host'], 'mean': _mean([float(len(one)) for one in sold])}


async def refresh_rates(currency: str = 'EUR', api_key: str = '') -> dict[str, float]:
    """Ask for the rates of a currency; that of the pound is answered by somebody else now and then."""
    await _take(0.4)
    answer = '<html>502 Bad Gateway</html>' if currency == 'GBP' else '{"USD": 1.09, "JPY": 161.4}'
    return _read_rates(currency, answer)


async def close_month() -> str:
    """Close the books."""
    await _take(3)
    return 'closed'


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


def _read_rates(currency: str, answer: str) -> dict[str, float]:
    try:
        rates: dict[str, float] = json.loads(answer)
    except json.JSONDecodeError as exc:
        raise ProviderError(f'the rates of {currency!r} cannot be read') from exc
    return rates


# Films


async def render_film(title: str, frames: int, first: int = 0) -> dict[str, Any]:
    """Render a film, which takes minutes, and tell how far it is."""
    for frame in range(first, frames, FRAMES):
        await current().touch(progress={'done': frame, 'total': frames, 'step': 'rendering'})
        await _take(1)
    return {'file': f'{title.lower().replace(" ", "-")}.mp4', 'frames': frames}


async def make_thumbnail(image: int) -> str:
    """Make a small image of a large one."""
    await _take(0.1 + image % 8 / 20)
    return f'{image}-160.webp'


async def probe(film: str) -> dict[str, Any]:
    """Look into a film."""
    await _take(1)
    return {'film': film, 'seconds': len(film) * 60}


async def transcode(film: dict[str, Any], height: int) -> str:
    """Make a film of another size."""
    await _take(2 + height / 240)
    if film.get('codec') == 'wmv3':
        command = ['ffmpeg', '-i', film['film'], '-vf', f'scale=-2:{height}']
        raise subprocess.CalledProcessError(187, command)
    if film.get('seconds', 0) > 9000:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f'/srv/film/{film["film"]}-{height}.mp4')
    return f'{film["film"]}-{height}.mp4'


async def publish(films: list[str]) -> dict[str, Any]:
    """Have all of them on the web."""
    await _take(1)
    return {'urls': [f'https://media.example/{film}' for film in films]}


async def _take(seconds: float) -> None:
    """Take so long, as work does."""
    await asyncio.sleep(seconds)

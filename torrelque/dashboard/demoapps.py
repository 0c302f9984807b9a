"""The apps of the demo, and what they declare: three queues, their functions, schedules, limits."""

import linecache
import smtplib
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from torrelque import Torrelque
from torrelque.tasks import Function, Tasks
from torrelque.worker import Backoff

from . import demoshop

MOST = 500
"""Tasks of a queue, dead ones not counted, above which no more is enqueued."""
KEPT = 180
"""s for which the final state of a task can be read."""
ZONE = 'Europe/Berlin'
"""Where the shop is."""

AGAIN = {
    Exception: 0.2, smtplib.SMTPRecipientsRefused: 0.2, OSError: Backoff(60, jitter=False), demoshop.ProviderError: 45,
}  # fmt: skip
"""When what has failed is tried again (s).  What will fail again, as most of it will, is dead soon."""

Functions = Mapping[str, Function[..., Any, Any]]


class Apps:
    """The apps, by one client.

    :param client: of the demo's server.
    """

    def __init__(self, client: Any) -> None:
        _be_users_code()
        self.mail, self.report, self.media = (
            Tasks(Torrelque(client, queue=name, max_tasks=MOST), name=name, keep=KEPT, types=None)
            for name in ('mail', 'report', 'media')
        )
        self.functions = {**_of_mail(self.mail), **_of_report(self.report), **_of_media(self.media)}
        """By what they are called in their module."""

    @property
    def all(self) -> tuple[Tasks, ...]:
        """All of them."""
        return self.mail, self.report, self.media


def _of_mail(app: Tasks) -> Functions:
    made = _add(app, 'shop.mail', {
        demoshop.send_receipt: {'priority': 10}, demoshop.send_newsletter: {'priority': -20},
        demoshop.send_password_reset: {'priority': 50, 'expires': 3600}, demoshop.remind_of_cart: {},
        demoshop.collect_bounces: {},
    })  # fmt: skip
    app.cron(every=15, name='bounces')(made['collect_bounces'])
    return made


def _of_report(app: Tasks) -> Functions:
    made = _add(app, 'shop.report', {
        demoshop.extract: {}, demoshop.clean: {}, demoshop.audit: {'max_attempts': 1}, demoshop.load: {},
        demoshop.export_csv: {}, demoshop.refresh_rates: {}, demoshop.close_month: {},
    })  # fmt: skip
    app.cron('*/5 * * * *', name='rates')(made['refresh_rates'])
    app.cron('0 6 L * *', timezone=ZONE, name='close of the month')(made['close_month'])
    return made


def _of_media(app: Tasks) -> Functions:
    return _add(app, 'shop.media', {
        demoshop.render_film: {'task_timeout': 60}, demoshop.make_thumbnail: {}, demoshop.probe: {},
        demoshop.transcode: {'max_attempts': 2}, demoshop.publish: {},
    })  # fmt: skip


def _add(app: Tasks, module: str, functions: Mapping[Any, Mapping[str, Any]]) -> Functions:
    """Decorate functions; each has three attempts, unless its options say otherwise."""
    common: dict[str, Any] = {'max_attempts': 3, 'retry': AGAIN}
    return {
        function.__name__: app.task(name=f'{module}.{function.__name__}', **{**common, **options})(function)
        for function, options in functions.items()
    }


def _be_users_code() -> None:
    """Have tracebacks take the functions for those of a user, and not of this package, whose frames they leave out."""
    source = Path(demoshop.__file__).read_text('utf-8')
    linecache.cache[demoshop.FILE] = len(source), None, source.splitlines(keepends=True), demoshop.FILE
    demoshop.ProviderError.__module__ = 'shop.tasks'
    for function in vars(demoshop).values():
        if isinstance(function, FunctionType) and function.__module__ == demoshop.__name__:
            function.__code__ = _renamed(function.__code__)


def _renamed(code: CodeType) -> CodeType:
    inner = tuple(_renamed(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_filename=demoshop.FILE, co_consts=inner)

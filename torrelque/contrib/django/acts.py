"""What was done in the dashboard, in the log of Django's admin."""

import logging
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model

from torrelque.operate import Act

from .connections import looked_after

logger = logging.getLogger(__name__)


async def log_act(act: Act) -> None:
    """Write an act to ``LogEntry``, as the admin does: ``Dashboard(app, permit=permit, on_act=log_act)``.

    Such an entry is of a user; so the act of somebody who is none, or none any more, is on record with the queue alone,
    and so are all where the admin is not installed.
    """
    await sync_to_async(_write)(act)


def _write(act: Act) -> None:
    if not apps.is_installed('django.contrib.admin'):
        return
    from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
    from django.contrib.contenttypes.models import ContentType

    from .models import Queue

    users: Any = get_user_model()
    with looked_after():
        user = users._default_manager.filter(**{users.USERNAME_FIELD: act.who}).first()
        if user is None:
            logger.info('there is no user %r, so an act of theirs is not in the log of the admin', act.who)
            return
        flags = {'enqueue': ADDITION, 'cancel': DELETION}
        LogEntry.objects.create(
            user_id=user.pk,
            content_type_id=ContentType.objects.get_for_model(Queue, for_concrete_model=False).pk,
            object_id=act.queue,
            object_repr=act.queue[:200],
            action_flag=flags.get(act.act, CHANGE),
            change_message=f'{act.act}: {act.what} ({act.count})',
        )

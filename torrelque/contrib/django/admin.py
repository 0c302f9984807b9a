"""The entry in the index of Django's admin, which leads to the dashboard."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect

from .models import Queue
from .setting import read_settings


@admin.register(Queue)
class QueueAdmin(admin.ModelAdmin):
    """Shows nothing itself: its pages are those of the dashboard.  Without ``DASHBOARD`` in the settings it is not
    there."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether the index has the entry: for all of the staff, who may look."""
        return read_settings().dashboard is not None

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the entry is a link."""
        return read_settings().dashboard is not None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is changed here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is removed here."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseRedirect:
        """The dashboard."""
        return HttpResponseRedirect(_base())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = '', extra_context: Any = None
    ) -> HttpResponseRedirect:
        """The page of a queue there; the entries of the admin's log lead here."""
        return HttpResponseRedirect(f'{_base()}queue?{urlencode({"q": object_id})}')

    history_view = change_view


def _base() -> str:
    return (read_settings().dashboard or '').rstrip('/') + '/'

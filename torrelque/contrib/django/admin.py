"""The entry in the index of Django's admin, which leads to the dashboard."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
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
        return self._lead(request)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = '', extra_context: Any = None
    ) -> HttpResponseRedirect:
        """The page of a queue there; the entries of the admin's log lead here."""
        return self._lead(request, f'queue?{urlencode({"q": unquote(object_id)})}')

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponseRedirect:
        """What was done there to the queue."""
        return self._lead(request, f'acts?{urlencode({"q": unquote(object_id)})}')

    def _lead(self, request: HttpRequest, page: str = '') -> HttpResponseRedirect:
        place = read_settings().dashboard
        if place is None or not self.has_view_permission(request):
            raise PermissionDenied
        return HttpResponseRedirect(f'{place.rstrip("/")}/{page}')

"""Handlers of the site of the tests that run in processes: importing this needs the models."""

from __future__ import annotations

import os

from django.db import connection

from support.djangosite.models import Order
from torrelque.worker import ChildDelivery


def count(delivery: ChildDelivery) -> list[object]:
    """The process, whether it had a connection when it began, and the orders."""
    had = connection.connection is not None
    return [os.getpid(), had, Order.objects.count()]

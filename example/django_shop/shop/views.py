"""The page of the shop."""

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from shop.models import Order
from shop.tasks import pack
from torrelque.contrib.django import enqueue_on_commit


def show(request: HttpRequest) -> HttpResponse:
    """The orders, the newest first."""
    return render(request, 'shop.html', {'orders': Order.objects.order_by('-pk')[:20]})


@require_POST
@transaction.atomic
def place(request: HttpRequest) -> HttpResponse:
    """Place an order.  Its task is enqueued when the order can be seen by the worker: on commit."""
    order = Order.objects.create(thing=request.POST['thing'][:80])
    enqueue_on_commit(pack.options(task_id=f'order-{order.pk}'), order.pk)
    return redirect('show')

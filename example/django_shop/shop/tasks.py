"""What is done in the background."""

from shop.models import Order
from torrelque.contrib.django import read_settings
from torrelque.tasks import Tasks
from torrelque.worker import Backoff

app = Tasks.from_url(read_settings().url, queue='shop')


@app.task(max_attempts=3, timeout=60, retry=Backoff(base=0.2))
def pack(order_id: int) -> str:
    """Pack an order; teapots break."""
    order = Order.objects.get(pk=order_id)
    if 'teapot' in order.thing:
        raise RuntimeError('it has broken')
    Order.objects.filter(pk=order.pk).update(packed=True)
    return f'packed {order.thing}'

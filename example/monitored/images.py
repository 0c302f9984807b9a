"""Images, by a handler that takes whatever is in a queue: the second kind of worker."""

from torrelque.worker import Delivery


def shrink(delivery: Delivery) -> None:
    print(f'a thumbnail of {delivery.task["image"]}', flush=True)

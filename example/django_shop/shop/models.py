"""What the shop keeps."""

from django.db import models


class Order(models.Model):
    """An order of one thing."""

    thing = models.CharField(max_length=80)
    packed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f'order {self.pk}, {self.thing}'

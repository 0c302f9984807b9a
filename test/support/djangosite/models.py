"""A model of the site of the tests."""

from django.db import models


class Order(models.Model):
    """An order."""

    name = models.TextField()

    class Meta:
        app_label = 'djangosite'

"""What permissions are of: a model without a table, because Django has permissions of models only."""

from django.db import models

from .grants import GRANTS


class Queue(models.Model):
    """A queue on the server.  The database has nothing of it but the permissions."""

    class Meta:
        managed = False
        app_label = 'torrelque'
        default_permissions = ('view',)
        permissions = tuple(GRANTS.values())
        verbose_name = 'queue'
        verbose_name_plural = 'queues'

"""The model that the permissions are of."""

from django.db import migrations, models

PERMISSIONS = (
    ('redrive_task', 'Can put dead tasks back'),
    ('cancel_task', 'Can cancel tasks'),
    ('requeue_task', 'Can give tasks back'),
    ('bury_task', 'Can bury tasks'),
    ('enqueue_task', 'Can enqueue tasks'),
    ('schedule_task', 'Can set and remove schedules'),
    ('view_payload', 'Can see payloads and results'),
    ('pause_queue', 'Can pause and resume queues, groups and schedules'),
    ('limit_queue', 'Can set limits of groups'),
    ('sweep_queue', 'Can sweep queues'),
)


class Migration(migrations.Migration):
    """It makes no table; the permissions come behind it, as those of each model do."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            'Queue',
            [('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID'))],
            options={
                'managed': False,
                'default_permissions': ('view',),
                'permissions': PERMISSIONS,
                'verbose_name': 'queue',
                'verbose_name_plural': 'queues',
            },
        ),
    )

"""Which permission of Django is which grant of the dashboard."""

GRANTS = {
    'redrive': ('redrive_task', 'Can put dead tasks back'),
    'cancel': ('cancel_task', 'Can cancel tasks'),
    'requeue': ('requeue_task', 'Can give tasks back'),
    'bury': ('bury_task', 'Can bury tasks'),
    'enqueue': ('enqueue_task', 'Can enqueue tasks'),
    'schedule': ('schedule_task', 'Can set and remove schedules'),
    'payload': ('view_payload', 'Can see payloads and results'),
    'pause': ('pause_queue', 'Can pause and resume queues, groups and schedules'),
    'limit': ('limit_queue', 'Can set limits of groups'),
    'sweep': ('sweep_queue', 'Can sweep queues'),
}
"""The permission of each grant of the dashboard, ``torrelque.NAME``, and what it is called."""

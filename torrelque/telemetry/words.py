"""What spans, attributes and metrics are called: by OpenTelemetry's semantic conventions for messaging, as of 1.40.

These are still in development.  What went before version 1.24 of them was never sent by this package, so the
``messaging`` and ``messaging/dup`` of ``OTEL_SEMCONV_STABILITY_OPT_IN`` choose between nothing.
"""

SYSTEM = 'torrelque'

MESSAGING_SYSTEM = 'messaging.system'
DESTINATION = 'messaging.destination.name'
OPERATION = 'messaging.operation.name'
OPERATION_TYPE = 'messaging.operation.type'
MESSAGE_ID = 'messaging.message.id'
CLIENT_ID = 'messaging.client.id'
COUNT = 'messaging.batch.message_count'
ERROR = 'error.type'
ADDRESS = 'server.address'
PORT = 'server.port'

TASK = 'messaging.torrelque.task'
ATTEMPT = 'messaging.torrelque.attempt'
GROUP = 'messaging.torrelque.group'
PRIORITY = 'messaging.torrelque.priority'
OUTCOME = 'messaging.torrelque.outcome'
STATUS = 'messaging.torrelque.status'
STATE = 'messaging.torrelque.state'

ENQUEUE, PROCESS, SETTLE = 'enqueue', 'process', 'settle'
TYPES = {ENQUEUE: 'send', PROCESS: 'process', SETTLE: 'settle'}
"""The type of each operation, as other systems have it, too."""

SCHEMA = 'https://opentelemetry.io/schemas/1.40.0'

BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Of histograms, in seconds."""

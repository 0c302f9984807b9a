"""The application served by a `ThreadWorker`, in a process whose own code is synchronous; it ends at SIGTERM.

    python -m proof.chaos.apps.threaded CONCURRENCY
"""

from __future__ import annotations

import signal
import sys
import threading

from proof.chaos.apps.app import app
from proof.chaos.apps.hosts import HEARTBEAT, Lines
from torrelque import TorrelqueConnectionError
from torrelque.worker import ThreadWorker

UNREACHABLE = 3
"""The status of a process whose server is away, that of `torrelque run`."""


def main(concurrency: int) -> int:
    Lines.listen()
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        worker = ThreadWorker(app, concurrency=concurrency, heartbeat=HEARTBEAT, shutdown_timeout=2).start()
        # It is looked at again and again, because one that ends by itself has nobody told.
        while not told.wait(0.2) and worker.is_alive():
            pass
        worker.stop()
        app.close()
    except TorrelqueConnectionError:
        return UNREACHABLE
    return 0


if __name__ == '__main__':
    sys.exit(main(int(sys.argv[1])))

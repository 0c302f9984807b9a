"""Other processes, and whether they are still there."""

import os
import select


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_end(pid: int) -> None:
    """Wait for the end of a process that need not be a child of this one."""

    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], 30)[0], f'process {pid} is still there'
    finally:
        os.close(fd)

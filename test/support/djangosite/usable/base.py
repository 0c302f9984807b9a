"""SQLite as a database whose connections can be killed: other than Django's own, it asks whether one is usable."""

from typing import Any

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection."""

    def is_usable(self) -> bool:
        """Whether it can be asked."""
        try:
            self.connection.execute('SELECT 1')
        except base.Database.Error:
            return False
        return True

    def kill(self) -> None:
        """Have it be closed by the other end, so that Django does not know it."""
        raw: Any = self.connection
        raw.close()

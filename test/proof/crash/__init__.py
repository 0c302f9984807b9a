"""A consumer that is killed, or stopped for longer than its leases, at any of its commands."""

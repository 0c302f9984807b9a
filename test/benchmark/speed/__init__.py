"""Torrelque beside other queues, and what single calls cost."""

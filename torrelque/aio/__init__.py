"""Asyncio carries it: the queue for coroutines, and what waits, sends and listens for it."""

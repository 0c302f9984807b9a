"""Faults of all kinds over a crowd of producers and consumers, by seeds."""

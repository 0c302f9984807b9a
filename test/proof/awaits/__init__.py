"""Public calls that are cancelled at each of their await points."""

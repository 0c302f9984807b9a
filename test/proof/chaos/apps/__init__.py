"""Chaos of applications as they are deployed: whatever serves them, wherever they are, with functions of each kind."""

"""One queue over many shards as a simulation: how far it grows, and what would keep it from growing."""

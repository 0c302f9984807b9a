"""The proof in full, in parts: what has been run of each layer, and what comes next."""

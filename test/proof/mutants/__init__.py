"""Hand-made faults, and the tests that are to see them."""

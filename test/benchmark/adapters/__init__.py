"""A program for each system that is measured.  Nothing here needs more than the package of that system."""

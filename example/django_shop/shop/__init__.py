"""A shop: the site and its only application."""

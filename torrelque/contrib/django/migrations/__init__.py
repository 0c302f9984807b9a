"""Migrations: they make no table."""

"""Servers that are killed, replaced by their replica, or whose slots move, while work goes on."""

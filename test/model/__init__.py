"""The queue in plain Python, and the machine that leads it along beside a real one."""

"""What it costs to ask and to act as an operator, and what hearts cost."""

"""What tests stand on: servers and how they are started, lines that fail, waiting, other processes."""

"""What operating a queue costs the server and its workers."""

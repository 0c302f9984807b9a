"""What is sent and what it means.  Nothing here waits, sends, or imports the client library but for its errors."""

"""What the queue costs: beside others, and in the large; `README.md` tells how it is measured."""

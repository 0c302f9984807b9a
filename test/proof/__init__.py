"""The promise of the queue, tested layer by layer; `docs/reliability.md` tells what each layer has found."""

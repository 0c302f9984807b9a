"""Fuzzing guided by coverage: bytes become what others may have written, and what reads it is judged.

A target is a function of a `Feed`, in ``target_*.py``; its oracles are that errors are of the kinds that are promised,
and tell what they are about; that what was written is read as it was; that what is read is within its bounds.  Faults
are exceptions, whatever they are.  With atheris (`run`) the bytes are sought, those in ``corpus/`` are replayed without
it (`replay`), in the ordinary suite too, with the steps counted that each takes.

    python -m proof.fuzz replies --minutes 60 --corpus /tmp/corpus
    python -m proof.fuzz --replay
"""

"""The smallest flow that has all: one task before two, and another behind both, by two kinds of ends."""

from __future__ import annotations

from torrelque import TorrelqueNode as Node

DIAMOND = [
    Node('a', 1),
    Node('b', 1, {'a': 'then'}),
    Node('c', 1, {'a': 'then'}),
    Node('d', 1, {'b': 'then', 'c': 'end'}),
]

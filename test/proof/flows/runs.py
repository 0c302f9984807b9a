"""One run of a flow: what has become of its tasks, what may happen next, and what did.

A run follows choices that were made before it and then always the first one, and remembers how many there were.  Where
it has ended the other ones are the beginnings of further runs, so that all are made, each once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from proof.flows.shapes import Shape
from torrelque import TorrelqueTaskId

NAMES = 'abcd'
MANY = 200
"""Of how many successors one call tells, where nothing else is said."""
BRIEF = ('complete', 'die', 'withdraw')
"""How a task may end that was redriven."""


class Rules(NamedTuple):
    """What may happen in the runs of a flow."""

    ends: tuple[str, ...] = ('complete', 'die', 'withdraw')
    """How a task may end that somebody has, besides 'reject' and 'clear': cancelled while it waits for somebody, or
    while somebody has it."""
    order: str = 'first'
    """Who goes on of several: the 'first', the 'last', or 'all' one after the other."""
    deaths: int = 1
    """How often a task may die."""
    way: str = 'bury'
    """How it dies: it is buried, given back by a 'requeue' of its last attempt, or its 'lease' ends."""
    made: str = 'whole'
    """Whether a flow is made in one call, 'twice' in that, or as a 'draft' of a call for each task, all sent once or
    each 'resent'."""
    crashes: tuple[str, ...] = ()
    """What may go wrong once: a call is sent 'again', at once or 'late', or somebody 'vanishes' with a task."""
    stops: bool = False
    """Whether tasks that wait, and dead ones, and once the whole flow, may be cancelled at any time."""
    budget: int = MANY
    """How many successors one call may tell."""


class Step(NamedTuple):
    """Something that happens."""

    act: str
    number: int = -1
    crash: str = ''

    def __str__(self) -> str:
        words = self.act, NAMES[self.number] if self.number >= 0 else '', self.crash
        return ' '.join(filter(None, words))


class Run:
    """A flow on its way."""

    def __init__(self, shape: Shape, policy: str, rules: Rules, choices: tuple[int, ...] = ()) -> None:
        self.shape, self.policy, self.rules, self.choices = shape, policy, rules, choices
        self.flow_id = ''
        self.taken: list[tuple[int, int]] = []
        """Which choice was made, of how many."""
        self.steps: list[Step] = []
        self.ends: list[str | None] = [None] * len(shape)
        self.fresh: set[int] = set()
        """Who has ended in this step."""
        self.begun: set[int] = set()
        self.held: dict[int, TorrelqueTaskId] = {}
        self.marked: set[int] = set()
        """Who was cancelled with the flow while somebody has it."""
        self.dead: set[int] = set()
        self.died: set[int] = set()
        """Who has ever been dead, where the flow waits then."""
        self.cancelled = False
        self.crashed = False
        self.left_dead: set[int] = set()
        """Who is dead though it has ended."""

    def __str__(self) -> str:
        tasks = [
            f'{NAMES[number]}({"any " * part.any}{", ".join(f"{kind} {NAMES[other]}" for other, kind in part.after)})'
            for number, part in enumerate(self.shape)
        ]
        return f'{" ".join(tasks)}, on_failure={self.policy}, {self.rules}: {"; ".join(map(str, self.steps))}'

    def task_id(self, number: int) -> str:
        return f'{self.flow_id}.{NAMES[number]}'

    def waits(self, number: int) -> bool:
        return self.ends[number] is None and number not in self.begun and number not in self.dead

    def is_last(self, number: int) -> bool:
        """Whether it stays where the flow is cancelled."""
        after = self.shape[number].after
        return bool(after) and all(kind == 'end' for _, kind in after)

    @property
    def is_over(self) -> bool:
        return None not in self.ends

    def choose(self) -> Step:
        """What happens next."""
        steps = [*self._steps()]
        place = len(self.taken)
        choice = self.choices[place] if place < len(self.choices) else 0
        self.taken.append((choice, len(steps)))
        step = steps[choice]
        self.steps.append(step)
        self.crashed |= bool(step.crash) or step.act == 'vanish'
        return step

    def others(self) -> Iterator[tuple[int, ...]]:
        """The beginnings of the runs that are next to this one, and that none before it has been next to."""
        for place in range(len(self.choices), len(self.taken)):
            made = tuple(choice for choice, _ in self.taken[:place])
            for choice in range(1, self.taken[place][1]):
                yield (*made, choice)

    def _steps(self) -> Iterator[Step]:
        for act, number in self._acts():
            yield Step(act, number)
            if not self.crashed and act != 'vanish':
                yield from (Step(act, number, crash) for crash in self.rules.crashes if crash != 'vanish')

    def _acts(self) -> Iterator[tuple[str, int]]:
        rules = self.rules
        held = sorted(self.held, reverse=rules.order == 'last')
        for number in held if rules.order == 'all' else held[:1]:
            if number in self.marked:
                yield 'let go', number
                continue
            before = [step.act for step in self.steps if step.number == number]
            ends = BRIEF if 'redrive' in before else rules.ends
            yield from ((act, number) for act in ends if act != 'die' or before.count('die') < rules.deaths)
            if 'vanish' in rules.crashes and not self.crashed:
                yield 'vanish', number
        if not held or rules.order == 'all':
            dead = sorted(self.dead)
            yield from (('redrive', number) for number in (dead if rules.order == 'all' else dead[:1]))
        if rules.stops:
            waiting = [number for number in range(len(self.shape)) if self.waits(number) or number in self.dead]
            yield from (('cancel', number) for number in waiting)
            if not self.cancelled:
                yield 'stop', -1

"""A claim in plain Python, for `model.py`: whose turn it is, and how many it takes."""

from __future__ import annotations

import math

from model.model_calls import Claim
from model.model_groups import PENDING, WORKING
from model.model_places import Places

HOLES = 2
"""Holes after which a claim stops; the test lowers it in the script."""


class Taking:
    """A claim on its way: what it takes, and from where."""

    def __init__(self, model: Places, claim: Claim) -> None:
        self.model = model
        self.claim = claim
        self.given: list[str] = []
        self.bytes = self.holes = 0
        self.full = False
        self.all_had_turns = False
        """Whether `turns` gave fewer than it was asked for: whoever came up since is next."""

    def take(self) -> list[str]:
        model, wanted = self.model, self.claim.wanted
        if '' in model.paused:
            return []
        self.ranked(min(wanted, sum(order < 0 for order in model.priority.values())))
        if model.turns and model.pending:
            self.by_turns()
        elif model.turns:
            self.take_heads(wanted)
        else:
            self.take_plain(wanted)
        if self.holes < HOLES:
            self.ranked(wanted)
        return self.given

    def by_turns(self) -> None:
        """Half from the side whose turn it is, the rest from the other, and what is still wanted from the first."""
        wanted, before = self.claim.wanted, len(self.given)
        number = self.model.seq or 0
        first, second = (self.take_plain, self.take_heads) if number % 2 else (self.take_heads, self.take_plain)
        first(before + math.ceil((wanted - before) / 2))
        middle = len(self.given)
        second(wanted)
        if middle - before > len(self.given) - middle:
            self.model.seq = number + (-1 if number % 2 else 1)
        first(wanted)

    def goes_on(self, goal: int) -> bool:
        return len(self.given) < goal and not self.full and self.holes < HOLES

    def take_plain(self, goal: int) -> None:
        model = self.model
        while model.pending and self.goes_on(goal):
            # The script pops as many as are wanted, and counts the holes behind the last of them.
            for task_id in model.pending[: goal - len(self.given)]:
                if model.is_hole(task_id):
                    model.holes.discard(task_id)
                    self.holes += 1
                elif not self.give(task_id):
                    break
                model.pending.remove(task_id)
                if self.full:
                    break

    def ranked(self, goal: int) -> None:
        priority = self.model.priority
        for task_id in self.model.in_order(priority)[: max(0, goal - len(self.given))]:
            if self.full or not self.give(task_id):
                break
            del priority[task_id]

    def take_heads(self, goal: int) -> None:
        model = self.model
        while self.goes_on(goal):
            # As many holes as there were may come again.
            wanted = goal - len(self.given) + self.holes
            line = model.came_up if self.all_had_turns else model.turns
            batch = line[:wanted]
            self.all_had_turns |= len(batch) < wanted
            if not batch and line is model.came_up:
                break
            del line[:wanted]
            for task_id in batch:
                if model.status(task_id) == PENDING:
                    model._meet(task_id)
            while batch:
                head = self.head(batch[0]) if len(self.given) < goal else batch[0]
                if head is None:
                    self.holes += 1
                elif len(self.given) == goal or not self.give(head):
                    # It goes back to where it was, with those behind it.
                    line[:0] = [head, *batch[1:]]
                    self.all_had_turns &= line is model.came_up
                    return
                else:
                    group = model.states[head]['group']
                    model.take_tokens(group, 1)
                    del model.heads[group]
                    model.come_up(group)
                del batch[0]

    def head(self, task_id: str) -> str | None:
        """Whom to hand out for an id of `turns`: the best of its group, or nobody."""
        if not self.model.is_head(task_id):
            return None
        if not self.model.may_go(task_id):
            self.model.step_back(task_id)
            return None
        return self.model.best(task_id)

    def give(self, task_id: str) -> bool:
        """Hand a task out; False where the bytes do not allow for it."""
        model, state = self.model, self.model.states[task_id]
        size = len(model.payloads[task_id])
        if self.bytes and self.bytes + size > self.claim.most_bytes:
            self.full = True
            return False
        state['status'] = WORKING
        state['dequeue_count'] = str(int(state.get('dequeue_count', 0)) + 1)
        state['last_dequeue_time'] = model.exact
        model.working[task_id] = model.now + int(state['timeout'])
        self.given.append(task_id)
        self.bytes += size
        self.full = self.bytes >= self.claim.most_bytes
        return True

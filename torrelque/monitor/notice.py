"""What whoever is told of a rule is given."""

from dataclasses import dataclass
from typing import Any

from .measures import MEASURES
from .rules import Rule
from .wording import command, duration, instant, visible


@dataclass(frozen=True, slots=True)
class Notice:
    """That a rule fires, fires on, or is over."""

    state: str
    """'firing', 'resolved', or 'test': somebody tries whether it arrives."""
    again: bool
    """Whether it was told before that it fires."""
    rule: str
    queue: str
    when: str
    """What the rule is about."""
    value: float | None
    """What was measured; None where there was nothing to measure."""
    words: str
    """The same in words."""
    since: float
    """Since when the value has been too high, or was; a Unix time (s) of the server."""
    time: float
    """When it was measured."""
    command: str
    """The command line that tells more."""
    number: str
    """That of this notice: what is told to several sinks, or once more because nobody knows whether it was told, may
    have another one."""

    @property
    def text(self) -> str:
        """All of it in one line."""
        queue, lasted = visible(self.queue), duration(max(0.0, self.time - self.since))
        if self.state == 'test':
            head = f'TEST of {self.rule} on {queue}: nothing is wrong; now {self.words}'
        elif self.state == 'resolved':
            head = f'OVER: {self.rule} on {queue}: {self.words}; it began at {instant(self.since)}, {lasted} ago'
        else:
            word = 'STILL FIRING' if self.again else 'FIRING'
            head = f'{word}: {self.rule} on {queue}: {self.words}; since {instant(self.since)}, {lasted} ago'
        return f'{head}. {visible(self.command)}'

    def as_json(self) -> dict[str, Any]:
        """What a webhook is sent: ``text``, which Slack, Mattermost and others show, and its parts."""
        return {
            'text': self.text, 'state': self.state, 'again': self.again, 'rule': self.rule,
            'queue': self.queue.encode('utf-8', 'backslashreplace').decode(), 'when': self.when, 'value': self.value,
            'words': self.words, 'since': self.since, 'time': self.time, 'command': visible(self.command),
            'number': self.number,
        }  # fmt: skip


def command_of(rule: Rule, queue: str) -> str:
    """The command line that tells more of what a rule is about."""
    return command(MEASURES[rule.when].verb, queue)

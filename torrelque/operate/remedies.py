"""Command lines that change what a reason tells of, quoted for a shell, whatever is in a name."""

import shlex

from torrelque import TorrelqueQueue


def command(
    queue: TorrelqueQueue, verb: str, operand: str | None = None, *options: str, group: str | None = None
) -> str | None:
    """A command line for a queue; None where no command line can have a name: with a NUL in it, or `--`.

    What begins with a dash would be taken for an option: such an operand stands behind ``--``, such a name in one word
    with its option.
    """
    words = ['torrelque', verb]
    if operand is not None and not operand.startswith('-'):
        words.append(operand)
    if group is not None:
        words += [f'--group={group}'] if group.startswith('-') else ['--group', group]
    words += options
    words += [f'-q{queue.name}'] if queue.name.startswith('-') else ['-q', queue.name]
    if operand is not None and operand.startswith('-'):
        words += ['--', operand]
    names = (operand, group, queue.name)
    return None if '--' in names or any('\0' in word for word in words) else shlex.join(words)


def of_limit(queue: TorrelqueQueue, group: str, slots: int) -> str | None:
    """Give a group so many slots."""
    return command(queue, 'limit', group, '--concurrency', str(slots))


def of_rate(queue: TorrelqueQueue, group: str, starts: float, seconds: float) -> str | None:
    """Give a group another rate."""
    return command(queue, 'limit', group, '--rate', f'{starts:.0f}/{seconds:.15g}s')

"""The commands beside those that ask and act: the live view, and what shells are told."""

from .command import Command
from .completion import add_completion_arguments, completion
from .top import add_top_arguments, top

VIEWING = (
    Command('top', 'watch queues live', 'Queues, their functions, groups, workers and dead tasks, live in the '
            'terminal; ? tells the keys. Where standard output is no terminal, it is torrelque stats --watch.',
            add_top_arguments, top),
    Command('completion', 'print what has a shell complete this command', 'Print a script for a shell, which then '
            'completes commands, options and their words, without starting Python: eval "$(torrelque completion bash)" '
            'in ~/.bashrc, likewise in ~/.zshrc behind compinit, or torrelque completion fish > '
            '~/.config/fish/completions/torrelque.fish', add_completion_arguments, completion),
)  # fmt: skip

"""Hand-made faults in files of settings: what is found, what is refused, what is shown, what is set."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

READING = 'config_reading::'
PROBLEMS = 'config_problems::'
COMMANDS = 'cli_config::'
RUNNING = 'cli_config_run::'

CONFIGURING = (
    Mutant(
        'config-of-the-first-problem', BEYOND, 'reading ends at the first value that cannot be meant',
        (client('config/reading', 'self.problems.append((keys, words))',
                'self.problems[:] = self.problems[:1] or [(keys, words)]'),),
        (PROBLEMS + 'test_all_that_is_wrong_is_told_at_once',),
    ),
    Mutant(
        'config-with-secrets', BEYOND, 'a message has what a variable has',
        (client('config/config', '(keys, filled.unfilled(text, keys))', '(keys, text)'),),
        (READING + 'test_what_a_variable_has_is_not_told',),
    ),
    Mutant(
        'config-shows-a-webhook', BEYOND, 'what is shown has the path of a webhook',
        (client('config/writing', 'else hidden(written or value)', 'else value'),),
        (COMMANDS + 'test_show_prints_what_holds_and_where_it_is_from',),
    ),
    Mutant(
        'config-before-the-environment', BEYOND, 'the server of the file goes before that of the environment',
        (client('config/config', 'find_url(None if self.variable is not None else self.sections.server.url)',
                'find_url(self.sections.server.url)'),),
        (READING + 'test_the_environment_goes_before_the_file',),
    ),
    Mutant(
        'config-of-any-project', BEYOND, 'a pyproject.toml without a table of ours is taken',
        (client('config/finding', "return isinstance(_at(tomllib.loads(Path(path).read_text('utf-8')), TABLE), dict)",
                'return True'),),
        (READING + 'test_a_file_is_found_in_its_order',),
    ),
    Mutant(
        'config-dry-run-sets', BEYOND, 'a dry run sets what differs',
        (client('cli/config', 'if found.dry_run:\n            return Exit.WELL',
                'if found.dry_run and False:\n            return Exit.WELL'),
         client('cli/config', 'if found.yes:', 'if found.yes or found.dry_run:')),
        (COMMANDS + 'test_apply_sets_what_differs_and_nothing_the_second_time',),
    ),
    Mutant(
        'config-apply-keeps-a-rate', BEYOND, 'a group keeps what the file says nothing of',
        (client('cli/applying', 'if now != file:', 'if now.concurrency != file.concurrency:'),),
        (COMMANDS + 'test_apply_sets_both_limits_of_a_group',),
    ),
    Mutant(
        'config-act-on-all', BEYOND, 'an act without a name is done on all queues of the file',
        (client('cli/filed', 'if not names and len(file.queues) > 1 and not several:', 'if False:'),),
        (COMMANDS + 'test_an_act_wants_a_name_where_the_file_has_several_queues',),
    ),
    Mutant(
        'config-processes-of-any-worker', BEYOND, 'a process is not told of which worker it is',
        (client('cli/supervise', "[f'--only={self.name}']", '[]'),),
        (RUNNING + 'test_a_killed_process_is_replaced_and_nobody_is_left_when_the_parent_is_killed',),
    ),
    Mutant(
        'config-broken-worker-beside-others', BEYOND, 'a worker that cannot be imported is tried for ever',
        (client('cli/supervise', 'if child.failed is not None and (self._burst or not kind.was_ready):',
                'if child.failed is not None and self._burst:'),
         client('cli/supervise', 'if kind.early >= EARLY_ENDS:', 'if False:')),
        (RUNNING + 'test_a_worker_that_cannot_be_imported_ends_all',),
    ),
)  # fmt: skip

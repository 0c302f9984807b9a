"""Hand-made faults in what operators do to many tasks: errors that are alike, selections, acts, their record."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

FAULTS = 'operate_faults::'
NORMALISING = 'operate_normalising::'
ERRORS = 'operate_errors::'
SELECTION = 'operate_selection::'
BULK = 'operate_bulk::'
LOST = 'operate_bulk_faults::'
ACTS = 'operate_acts::'
OVERTAKEN = 'operate_bulk_overtaken::'
PACE = 'operate_pace::'

OPERATE_BULK = (
    # Errors that are alike.
    Mutant(
        'fault-of-any-status', BEYOND, 'a status is a number like any other, so that 404 and 429 are one kind',
        (client('operate/normalising', 'if before.endswith(_WORDS) and', 'if not before and'),),
        (NORMALISING + 'test_what_says_something_stays',),
    ),
    Mutant(
        'fault-of-each-path', BEYOND, 'each file is an error of its own',
        (client('operate/normalising', "if '/' in text or", "if '\\0' in text or"),),
        (NORMALISING + 'test_what_differs_from_case_to_case_is_left_out',),
    ),
    Mutant(
        'fault-of-a-folder', BEYOND, 'a release in another folder splits what is alike',
        (client('operate/normalising', "parts = file.replace('\\\\', '/').rsplit", 'parts = file.rsplit'),),
        (FAULTS + 'test_a_release_does_not_split_what_is_alike',),
    ),
    Mutant(
        'fault-of-the-first', BEYOND, 'an error goes by the first of chained exceptions',
        (client('operate/faults', 'start = max(text.rfind(chain)', 'start = min(text.rfind(chain)'),),
        (FAULTS + 'test_a_last_exception_without_frames_of_its_own_comes_from_where_its_cause_does',),
    ),
    Mutant(
        'fault-of-a-library', BEYOND, 'an error comes from the innermost frame, which is of a library',
        (client('operate/faults', 'is not None and normalising.is_own(frame.file)', 'is not None'),),
        (FAULTS + 'test_the_innermost_frame_of_the_application_counts',),
    ),
    Mutant(
        'fault-of-each-member', BEYOND, 'a group of three of a kind is another fault than one of two',
        (client('operate/faults', "list(dict.fromkeys((what, _COUNT.sub('', message)) for what, message in found))",
                "[(what, _COUNT.sub('', message)) for what, message in found]"),),
        (FAULTS + 'test_a_group_of_more_of_a_kind_is_the_same',),
    ),
    Mutant(
        'fault-cut-elsewhere', BEYOND, 'a long error is another fault to whoever reads it whole',
        (Edit('torrelque/operate/script/faults.lua', '= 32768, 2048, 16384', '= 32768, 2048, 1024'),),
        (ERRORS + 'test_errors_of_any_length_are_read_in_bounded_replies',),
    ),
    Mutant(
        'errors-of-the-oldest', BEYOND, 'a window has the oldest deaths',
        (Edit('torrelque/operate/script/faults.lua', "'dead' and 'ZREVRANGE'", "'none' and 'ZREVRANGE'"),),
        (ERRORS + 'test_a_window_has_the_newest',),
    ),
    Mutant(
        'errors-by-when-due', BEYOND, 'a task that waits for another attempt has failed in the future',
        (client('operate/faults', '    if not dead:\n', '    if False:\n'),),
        (ERRORS + 'test_a_task_that_is_tried_again_later_counts_by_when_it_failed',),
    ),
    Mutant(
        'errors-skipped-where-large', BEYOND, 'behind large errors others are left out',
        (client('operate/faults', 'skip += looked\n', 'skip += CALL\n'),),
        (ERRORS + 'test_errors_of_any_length_are_read_in_bounded_replies',),
    ),
    # Selections.
    Mutant(
        'selection-brackets', BEYOND, 'brackets in a name stand for one of several characters',
        (client('operate/selection', '_SIGN.sub(_one_of, pattern)', 'pattern'),),
        (SELECTION + 'test_only_a_star_and_a_question_mark_stand_for_something_else',),
    ),
    Mutant(
        'selection-error-or-text', BEYOND, 'eight digits are looked for in no text',
        (client('operate/selection', ".fingerprint == error or error in (task.error or '')",
                '.fingerprint == error'),),
        (SELECTION + 'test_an_error_is_found_by_its_whole_fingerprint_or_by_a_text',),
    ),
    Mutant(
        'cli-error-of-several', BEYOND, 'a beginning that several fingerprints have is the first of them',
        (client('cli/filters', 'if len(kinds) > 1:', 'if len(kinds) > 2:'),),
        ('cli_acting_errors::test_a_beginning_that_several_errors_have_is_refused',),
    ),
    Mutant(
        'selection-of-nothing', BEYOND, 'an empty list of ids is taken for all tasks, or for none',
        (client('operate/selection', '    if not ids:\n', '    if False:\n'),),
        (SELECTION + 'test_what_cannot_be_meant_is_refused',),
    ),
    Mutant(
        'selection-option-as-value', BEYOND, 'a value that begins with a hyphen is read as an option',
        (client('operate/selection', "if word.startswith('-') else", 'if False else'),),
        (SELECTION + 'test_what_it_is_described_as_is_read_as_the_same',),
    ),
    # Acts.
    Mutant(
        'act-in-a-circle', BEYOND, 'what dies again while it is redriven is brought back without end',
        (
            client('operate/bulk', 'if selection.older is None and until == now:', 'if False:'),
            client('operate/bulk', 'if task.died is None or _was_dead(task.died, now, until, task)]', 'if True]'),
        ),
        (BULK + 'test_what_dies_again_meanwhile_is_not_brought_back_in_a_circle',),
    ),
    Mutant(
        'act-blind-to-the-future', BEYOND, 'after the clock was set back, tasks that have died later are not redriven',
        (client('operate/bulk', 'max(now, float(newest[1]) / 1000 if newest else now)', 'now'),),
        (BULK + 'test_tasks_that_have_died_in_the_future_of_the_server_are_dead_too',),
    ),
    Mutant(
        'act-limit-of-tries', BEYOND, 'tasks that are refused count for the limit',
        (client('operate/bulk', 'self._limit is not None and (self._matched if self._dry_run else self._done) >= ',
                'self._limit is not None and self._matched >= '),),
        (BULK + 'test_a_limit_does_not_count_what_is_refused',),
    ),
    Mutant(
        'act-cut-off', BEYOND, 'what is on its way when the act is cancelled is not counted',
        (client('operate/bulk', '            if settle and not task.done():\n', '            if False:\n'),),
        (LOST + 'test_what_is_on_its_way_counts_when_the_act_is_cancelled',),
    ),
    Mutant(
        'act-silent', BEYOND, 'no progress is told while the server gives no answer',
        (client('operate/bulk', '                if not task.done():\n                    self._report()\n', ''),),
        (LOST + 'test_progress_is_told_while_nothing_comes_back',),
    ),
    Mutant(
        'act-refused-and-lost', BEYOND, 'tasks that were not redriven are told of nowhere',
        (client('operate/verbs', '        if reply < len(part):\n', '        if False:\n'),),
        (LOST + 'test_a_task_that_changes_between_look_and_act_is_refused_by_why',),
    ),
    Mutant(
        'act-of-all-queues-at-once', BEYOND, 'a limit is of each queue',
        (client('operate/bulk', '            if self._limit_is_reached():\n                break',
                '            self._limit = self._limit and self._limit + 12'),),
        (BULK + 'test_an_act_goes_through_all_queues_unless_one_is_named',),
    ),
    Mutant(
        'act-in-the-first-queue', BEYOND, 'an act by an id that two queues know is one of the first',
        (client('operate/named', '    check_unique(known)\n',
                '    known = {one: names[:1] for one, names in known.items()}\n'),),
        ('operate_together::test_an_act_by_an_id_that_several_queues_know_changes_nothing',),
    ),
    Mutant(
        'act-in-silence', BEYOND, 'an act says nothing of shards that were away, whose tasks it has not changed',
        (client('operate/bulk', 'if self._away and not self._dry_run', 'if False and not self._dry_run'),),
        ('sharded_away::test_an_act_is_done_at_the_living_shards_and_says_where_it_is_not',),
    ),
    Mutant(
        'page-without-its-shards', BEYOND, 'a page does not say which shards are missing in it',
        (client('operate/spread', 'away=tuple({shard.number: shard for shard in (*found.away, *silent)}.values())',
                'away=()'),),
        ('sharded_away::test_an_operator_is_told_what_the_living_shards_have',),
    ),
    Mutant(
        'order-of-one-shard', BEYOND, 'tasks of a page are in the order of their shards',
        (client('operate/merging', 'key=lambda it: it[:2], reverse=newest_first)', 'key=lambda it: it[1])'),),
        ('sharded_operate::test_tasks_that_have_an_instant_are_told_in_one_order_over_all_shards',),
    ),
    Mutant(
        'act-off-the-record', BEYOND, 'an act that fails half-way is not on record',
        (client('operate/operator', 'finally:\n            # An act', 'except KeyError:\n            # An act'),),
        (LOST + 'test_whoever_raises_in_the_progress_ends_the_act_with_what_was_done_on_record',),
    ),
    Mutant(
        'rate-by-sleeping', BEYOND, 'a rate falls behind by what each portion is late',
        (client('operate/pace', 'self._next += count', 'self._next = self._clock() + count'),),
        (PACE + 'test_a_rate_is_kept_over_time_however_late_each_portion_is_woken',),
    ),
    Mutant(
        'rate-with-floods', BEYOND, 'after a standstill all is made up for at once',
        (client('operate/pace', 'self._next = max(self._next, now - LAG)', 'pass'),),
        (PACE + 'test_after_a_standstill_no_more_is_made_up_for_than_half_a_second',),
    ),
    # What changes between look and act.
    Mutant(
        'act-again-after-a-clock', BEYOND, 'after a clock was set back, what dies again is brought back in a circle',
        (client('operate/bulk', 'task.server_time < died <= until', 'died <= until'),),
        (OVERTAKEN + 'test_what_dies_again_is_not_brought_back_though_a_clock_was_set_back',),
    ),
    Mutant(
        'act-on-what-was', BEYOND, 'an act goes by what tasks were when they were looked at',
        (client('operate/bulk', 'elif matches(fresh) and self._is_as_it_was(task, fresh, selection.status):',
                'elif True:'),),
        (OVERTAKEN + 'test_what_has_changed_before_its_turn_comes_is_left',),
    ),
    Mutant(
        'act-on-a-renewed-lease', BEYOND, 'a task whose holder has come back is taken away from it',
        (client('operate/bulk', "status != 'orphaned' or fresh.renewed == task.renewed", 'True'),),
        (OVERTAKEN + 'test_an_orphan_whose_holder_has_come_back_is_left',),
    ),
    Mutant(
        'cancel-whatever-it-is', BEYOND, 'what a worker has taken meanwhile is cancelled',
        (Edit('torrelque/script/cancel.lua', "only ~= ''", 'false'),),
        (OVERTAKEN + 'test_what_is_taken_at_the_last_moment_is_not_cancelled',),
    ),
    Mutant(
        'requeue-without-a-fence', BEYOND, 'a task is taken from a holder that has it since it was looked at',
        (client('operate/verbs', 'if task.token else task.id', 'if not task.token else task.id'),),
        (OVERTAKEN + 'test_what_is_handed_out_anew_at_the_last_moment_stays_with_its_holder',),
    ),
    # What is not known.
    Mutant(
        'function-not-known', BEYOND, 'what cannot be told is taken for no call of a function',
        (client('operate/selection', 'lambda task: task.function_known', 'lambda task: True'),),
        (SELECTION + 'test_a_function_that_is_not_known_is_none_and_no_other_one',),
    ),
    Mutant(
        'function-of-a-large-payload', BEYOND, 'calls with large arguments are missed',
        (Edit('torrelque/operate/script/page.lua', 'room >= 0 and size <= LARGEST', 'false'),),
        ('operate_pages::test_the_beginning_of_a_large_payload_tells_its_function_or_that_it_is_not_known',),
    ),
    Mutant(
        'delayed-since-it-was-taken', BEYOND, 'a task that was given back just now is delayed for as long as it ran',
        (client('operate/selection', '(task.last_dequeue_time, math.inf)', '(task.last_dequeue_time,) * 2'),),
        (SELECTION + 'test_when_a_delayed_task_was_given_back_without_an_error_is_not_known',),
    ),
    # The record.
    Mutant(
        'record-twice', BEYOND, 'an act whose reply was lost is on record twice',
        (Edit('torrelque/operate/script/act.lua', "redis.call('LRANGE', acts, 0, 9)", '{}'),),
        (ACTS + 'test_an_act_whose_reply_is_lost_is_on_record_once',),
    ),
    Mutant(
        'record-in-the-way', BEYOND, 'an act fails where it cannot be put on record',
        (client('operate/acts', 'except (TorrelqueServerError, TorrelqueConnectionError) as exc:',
                'except TorrelqueConnectionError as exc:'),),
        (ACTS + 'test_a_user_who_may_not_write_the_record_acts_all_the_same',),
    ),
    Mutant(
        'record-for-ever', BEYOND, 'the record stays for ever',
        (Edit('torrelque/operate/script/act.lua', "redis.call('EXPIRE', acts, ARGV[5])", ''),),
        (ACTS + 'test_each_act_is_on_record_the_newest_first',),
    ),
)  # fmt: skip

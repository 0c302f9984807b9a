"""Hand-made faults in alerts: when a rule fires, who tells, what becomes of a sink that fails, what is never told."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

ALERT = 'alerts::'
SCRIPT = 'alerts_script::'
MODEL = SCRIPT + 'test_states_are_those_of_the_model'
SINKS = 'alerts_sinks::'
HOOK = 'alerts_webhook::'
MEASURES = 'alerts_measures::'


def lua(old: str, new: str) -> Edit:
    return Edit('torrelque/monitor/script/alert.lua', old, new)


ALERTS = (
    # When it fires.
    Mutant(
        'alert-at-once', BEYOND, 'a rule fires as soon as it rises',
        (lua('now - one.since >= rise', 'now - one.since >= 0'),),
        (MODEL, SCRIPT + 'test_what_flaps_fires_never_and_what_fires_and_flaps_fires_once'),
    ),
    Mutant(
        'alert-over-at-once', BEYOND, 'a rule is over as soon as it falls',
        (lua('now - one.since >= fall', 'now - one.since >= 0'),),
        (MODEL, SCRIPT + 'test_what_flaps_fires_never_and_what_fires_and_flaps_fires_once'),
    ),
    Mutant(
        'alert-one-bound', BEYOND, 'a rule falls below the bound at which it rises',
        (lua('not value or value < below', 'not value or value < above'),),
        (MODEL, SCRIPT + 'test_between_the_two_bounds_it_stays_as_it_is'),
    ),
    Mutant(
        'alert-over-a-gap', BEYOND, 'a rule fires by a time in which nobody looked',
        (lua("one.state == 'rising' and gap or", ''),),
        (SCRIPT + 'test_where_looks_are_far_apart_nothing_fires',),
    ),
    Mutant(
        'alert-changed-rule', BEYOND, 'a changed rule goes on with the state of the old one',
        (client('monitor/rules', '{hashlib.sha256(repr(told).encode()).hexdigest()[:8]}', '{len(told)}'),),
        (ALERT + 'test_a_rule_that_is_changed_begins_calm',),
    ),
    # Who tells.
    Mutant(
        'alert-told-by-all', BEYOND, 'everybody who looks tells',
        (lua("if not one.owed or due and now < due and due - now <= LONGEST then", 'if not one.owed then'),),
        (ALERT + 'test_of_many_who_look_one_tells', MODEL),
    ),
    Mutant(
        'alert-right-for-ever', BEYOND, 'what a killed process had to tell is never told',
        (lua("token, one.owed, now + RIGHT, true", 'token, one.owed, now + LONGEST, true'),),
        (ALERT + 'test_what_a_killed_process_has_not_told_another_one_tells', MODEL),
    ),
    Mutant(
        'alert-confirmed-by-anybody', BEYOND, 'who comes too late confirms what another one tells',
        (lua('if one.sender ~= token then', 'if not one.sender then'),),
        (SCRIPT + 'test_who_has_lost_the_right_changes_nothing',),
    ),
    Mutant(
        'alert-told-once-more', BEYOND, 'a call that is sent again because its reply was lost tells nothing',
        (lua('if one.sender == token then', "if one.sender == '' then"),),
        (SCRIPT + 'test_a_call_that_is_sent_again_is_answered_as_before',),
    ),
    Mutant(
        'alert-over-for-nobody', BEYOND, 'it is told that something is over of which nobody was told',
        (lua("owe(one, one.given and 'resolved' or nil)", "owe(one, 'resolved')"),),
        (SCRIPT + 'test_what_nobody_could_be_told_of_is_not_told_to_be_over',),
    ),
    # Sinks.
    Mutant(
        'alert-all-sinks-again', BEYOND, 'with one sink that failed the others are told again',
        (client('monitor/alerts', 'self._outlets_of(rule, task.done)', 'self._outlets_of(rule)'),),
        (SINKS + 'test_a_sink_that_raises_is_told_again_later_and_the_others_are_not',),
    ),
    Mutant(
        'alert-look-waits-for-sinks', BEYOND, 'a sink that hangs holds up the looks',
        (client('monitor/alerts', 'views = await self._look()', 'views = await self.look()'),),
        (SINKS + 'test_looks_go_on_while_a_sink_hangs',),
    ),
    Mutant(
        'alert-no-line', BEYOND, 'what is told while a sink is busy is not told there',
        (client('monitor/sinks', 'if self._hangs or loop.time() >= end', 'if True'),),
        (SINKS + 'test_notices_of_one_look_wait_in_a_line_for_a_sink_that_takes_its_time',),
    ),
    Mutant(
        'alert-follows', BEYOND, 'a redirect is followed',
        (client('monitor/sinks', 'build_opener(_NoRedirect)', 'build_opener()'),),
        (HOOK + 'test_what_it_was_not_taken_for_is_told_without_the_address',),
    ),
    Mutant(
        'alert-reads-all', BEYOND, 'an answer is read to its end',
        (client('monitor/sinks', 'answer.read(MOST)', 'answer.read(10**9)'),),
        (HOOK + 'test_of_an_enormous_answer_little_is_read',),
    ),
    # What is measured.
    Mutant(
        'alert-share-of-few', BEYOND, 'one attempt that fails is a share of failures',
        (client('monitor/measures', 'if attempts and attempts >= at_least else None', 'if attempts else None'),),
        (MEASURES + 'test_of_few_attempts_no_share_is_told',),
    ),
)

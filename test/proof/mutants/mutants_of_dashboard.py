"""Hand-made faults in the dashboard: whoever may look, what may be done, what is seen, what is read for whom."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Mutant, client

APP = 'dashboard_app::'
ACTS = 'dashboard_acts::'
REFUSED = 'dashboard_acts_refused::'
LIVE = 'dashboard_live::'
REDACTING = 'dashboard_redacting::'
SERVE = 'dashboard_serve::'
PAST = 'dashboard_past::'

DASHBOARD = (
    # Whoever may look, and act.
    Mutant(
        'dashboard-for-anybody', BEYOND, 'a permit that answers True lets everybody in',
        (client('dashboard/access', 'if answer is not None and not isinstance(answer, (Visitor, Redirect)):',
                'if answer is True:\n        return Visitor(\'it\')\n    if False:'),),
        (APP + 'test_permit_that_answers_something_else_lets_nobody_in',),
    ),
    Mutant(
        'dashboard-act-of-anybody', BEYOND, 'an act needs no grant',
        (client('dashboard/app', 'if not visit.may(acting.grant_of(visit, act)):', 'if act is None:'),),
        (REFUSED + 'test_each_act_without_its_grant_is_refused_and_changes_nothing',),
    ),
    Mutant(
        'dashboard-stop-of-anybody', BEYOND, 'whoever may pause may stop a redrive',
        (client('dashboard/acting', 'return kind.grant or ACTS[_meant(visit).act].grant',
                "return kind.grant or 'pause'"),),
        (REFUSED + 'test_an_act_is_stopped_only_by_whoever_may_do_it',),
    ),
    Mutant(
        'dashboard-act-from-elsewhere', BEYOND, 'a form of another site acts',
        (client('dashboard/guard', 'if site is not None:', 'if site is None:'),),
        (REFUSED + 'test_what_comes_from_elsewhere_or_is_no_form_is_refused',),
    ),
    Mutant(
        'dashboard-act-of-whoever-is-silent', BEYOND, 'a browser that does not tell its site may act',
        (client('dashboard/guard', "return 'it does not tell which site it comes from'", 'return None'),),
        (REFUSED + 'test_what_comes_from_elsewhere_or_is_no_form_is_refused',),
    ),
    Mutant(
        'dashboard-act-twice', BEYOND, 'a form that is sent twice acts twice',
        (client('dashboard/acting', 'fresh = await operator.claim()', 'fresh = bool(await operator.claim()) or True'),),
        (REFUSED + 'test_a_form_that_is_sent_to_two_processes_is_done_once',),
    ),
    Mutant(
        'dashboard-unbound', BEYOND, 'pages may load from anywhere',
        (client('dashboard/guard', "\"default-src 'none'; ", '"'),),
        (APP + 'test_every_answer_binds_the_browser',),
    ),
    Mutant(
        'dashboard-of-any-name', BEYOND, 'a page of another name that is this machine reads the dashboard',
        (client('dashboard/serve', 'if host not in self._names and', 'if not self._names and'),),
        (SERVE + 'test_a_request_for_another_name_is_refused_and_says_how_it_could_be_meant',),
    ),
    # What is seen.
    Mutant(
        'dashboard-text-oracle', BEYOND, 'whoever may not see payloads finds out what is in them',
        (client('dashboard/selecting', "if 'text' in given and not visit.shield.is_open:", "if 'text' in ():"),),
        (REFUSED + 'test_a_text_of_payloads_is_not_looked_for_without_the_grant',),
    ),
    Mutant(
        'dashboard-bytes', BEYOND, 'the bytes of a payload go with it',
        (client('dashboard/redacting', 'payload=payload, raw=view.raw if self.is_open else None', 'payload=payload'),),
        (REDACTING + 'test_task_has_nothing_left_of_what_is_secret',),
    ),
    Mutant(
        'dashboard-errors-shared', BEYOND, 'errors that one may see whole are shown to all',
        (client('dashboard/visit', "('errors', name, most, shield.is_open)", "('errors', name, most)"),),
        ('dashboard_errors::test_what_looks_secret_in_an_error_is_seen_by_whoever_may',),
    ),
    # What is read, and for whom.
    Mutant(
        'dashboard-read-for-each', BEYOND, 'each viewer has the page read',
        (client('dashboard/live', 'if topic is None or topic.task.done():', 'if True:'),),
        (LIVE + 'test_all_who_look_at_the_same_have_it_read_once',),
    ),
    Mutant(
        'dashboard-read-for-nobody', BEYOND, 'a page is read on when nobody looks',
        (client('dashboard/live', 'if topic.idle and self._topics.get(name) is topic:', 'if not topic:'),),
        (LIVE + 'test_nobody_who_looks_has_nothing_read',),
    ),
    Mutant(
        'dashboard-ages-are-sent', BEYOND, 'an age has changed in each second',
        (client('dashboard/live', r"(html, _AGE.sub(r'\1', html))", '(html, html)'),),
        (LIVE + 'test_only_what_has_changed_is_told_and_an_age_has_not',),
    ),
    Mutant(
        'dashboard-holds-up-the-end', BEYOND, 'a server that is to stop waits for its streams',
        (client('dashboard/live', '        stop.add_done_callback(lambda _: _end(frames))\n', ''),),
        (LIVE + 'test_streams_end_when_the_server_is_to_stop_or_the_dashboard_is_closed',),
    ),
    Mutant(
        'dashboard-history-anew', BEYOND, 'each look reads eight hours',
        (client('dashboard/past', 'if kept is None or kept.span < span or', 'if kept is not None or'),),
        (PAST + 'test_only_what_may_be_new_is_read_again',),
    ),
)  # fmt: skip

"""Hand-made faults in what operators are told: overviews, pages, walks, groups, soundness."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

MODEL = 'operate_model::test_after_any_history_all_answers_are_those_of_a_reader_of_all_keys'

ORPHANS = 'operate_orphans::test_all_ways_tell_the_same_tasks_to_be_with_nobody'


def operate(name: str, old: str, new: str) -> Edit:
    """A fault in one of the layer's own scripts."""
    return Edit(f'torrelque/operate/script/{name}.lua', old, new)


OPERATE_READ = (
    Mutant(
        'timetable-paused-is-late', BEYOND, 'a schedule that is paused counts as late',
        (operate('timetable', 'late = late - 1', 'late = late - 0'),),
        ('operate_timetable::test_late_dry_and_paused_ones_are_told',),
    ),
    Mutant(
        'timetable-over-is-dry', BEYOND, 'a schedule that is over by its end counts as dry',
        (operate('timetable', 'if not last or last > now and look', 'if not last or last <= now or look'),),
        ('operate_timetable::test_late_dry_and_paused_ones_are_told',),
    ),
    Mutant(
        'overview-schedules-beside', BEYOND, 'schedules are not seen where a group is paused',
        (operate('overview', 'if there > others then', 'if there > 0 and others == 0 then'),),
        ('operate_timetable::test_nothing_is_told_where_no_schedule_is',),
    ),
    Mutant(
        'overview-only-the-last', BEYOND, 'a forgiven task at the right end hides those that wait for longer',
        (operate('overview', "look('LRANGE', 'pending', -3, -2)", "look('LRANGE', 'pending', -1, -1)"),),
        ('operate_overview::test_the_oldest_is_found_at_the_ends_of_the_list',),
    ),
    Mutant(
        'overview-not-far', BEYOND, 'what a shutdown gave back hides those that wait for longer',
        (operate('overview', "'pending', -67", "'pending', -4"),),
        ('operate_overview::test_the_oldest_is_found_at_the_ends_of_the_list',),
    ),
    Mutant(
        'overview-any-status', BEYOND, 'a hole counts as the oldest task',
        (operate('overview', "if known[1] == '0' then", 'if known[1] then'),),
        ('operate_overview::test_what_is_no_longer_pending_is_not_the_oldest',),
    ),
    Mutant(
        'overview-no-lowest', BEYOND, 'tasks of the lowest priority starve, and nobody is told',
        (operate('overview', "'priority', string.format('%.0f', class)", "'priority', string.format('%.0f', 0)"),),
        ('operate_overview::test_the_oldest_by_priority_is_the_first_of_all_or_the_first_of_the_lowest',),
    ),
    Mutant(
        'overview-since-enqueued', BEYOND, 'a task that came back is told to be as old as when it was enqueued',
        (operate('overview', 'for k = 3, 4 do', 'for k = 5, 4 do'),),
        (MODEL, 'operate_pages::test_since_when_a_task_is_ready_is_the_latest_of_three'),
    ),
    Mutant(
        'overview-holes-ready', BEYOND, 'cancelled tasks count as ready',
        (client('operate/overview', 'max(0, self.length - self.holes) + self.priority + self.heads',
                'self.length + self.priority + self.groups'),),
        (MODEL,),
    ),
    Mutant(
        'overview-exact-though-broken', BEYOND, 'a figure is told to be exact whose key was overwritten',
        (client('operate/overview', 'if not set(keys) & set(broken)', 'if keys'),),
        ('operate_overview::test_a_key_of_another_type_is_named_and_harms_its_own_figures_alone',),
    ),
    Mutant(
        'overview-asks-hearts', BEYOND, 'each overview asks for hearts that nobody has',
        (client('operate/overview', '    if figures.beating:\n', '    if True:\n'),),
        ('operate_overview::test_workers_are_counted_where_any_has_a_heart',),
    ),
    Mutant(
        'overview-lost-are-there', BEYOND, 'workers that were lost count as slots',
        (client('operate/overview', "[worker for worker in found.values() if worker.state != 'lost']",
                '[*found.values()]'),),
        ('operate_overview::test_workers_are_counted_where_any_has_a_heart',),
    ),
    Mutant(
        'overview-workers-twice', BEYOND, 'a worker of two queues has twice as many places',
        (client('operate/overview', 'key = worker.name, worker.concurrency', 'key = worker.name, len(found)'),),
        ('operate_overview::test_a_worker_of_several_queues_is_counted_once',),
    ),
    Mutant(
        'overview-exact-sum', BEYOND, 'a sum is told to be exact of which a part is missing',
        (client('operate/overview', 'if not errors and all(', 'if all('),),
        ('operate_overview::test_a_queue_that_the_server_refuses_has_an_error_in_its_place',),
    ),
    Mutant(
        'cursor-by-score', BEYOND, 'a page skips tasks of the same instant as the last one told',
        (operate('members', "    local member = look('ZRANGE', name, middle, middle)[1]\n"
                            '    if is_before(member, id) or with and member == id then',
                 '    if with then'),),
        ('operate_pages::test_tasks_of_one_instant_are_told_once_each',),
    ),
    Mutant(
        'cursor-told-again', BEYOND, 'each page begins with the last task of the one before',
        (operate('members', 'first = math.max(first, count_before(name, score, id, true))',
                 'first = math.max(first, count_before(name, score, id, false))'),),
        ('operate_pages::test_a_cursor_whose_task_is_gone_keeps_its_place', MODEL,
         'operate_hostile::test_any_score_is_passed_by_and_told_as_no_instant',
         'operate_pages::test_pages_by_their_cursors_have_each_task_once'),
    ),
    Mutant(
        'walk-without-heads', BEYOND, 'a task that becomes the head of its group is missed',
        (operate('members', "  if group ~= '' then\n", "  if group ~= '' and score == '' then\n"),),
        ('operate_walks::test_a_task_that_becomes_the_head_of_its_group_is_met',),
    ),
    Mutant(
        'walk-no-heads', BEYOND, 'heads are no tasks of their groups',
        (operate('members', "  if group ~= '' then\n", '  if false then\n'),),
        (MODEL,),
    ),
    Mutant(
        'walk-beyond-the-instant', BEYOND, 'a task that died a moment ago is brought back by an act on older ones',
        (operate('members', "(look('ZCOUNT', name, '-inf', highest) or 0) - 1", "(look('ZCARD', name) or 0) - 1"),),
        ('operate_pages::test_a_walk_by_instants_looks_at_no_others',),
    ),
    Mutant(
        'walk-forgets-cancelled', BEYOND, 'an act that cancels misses half of a short list',
        (operate('entries', 'if length <= short and position <= short then', 'if false then'),),
        ('operate_walks::test_tasks_that_stay_are_met_though_all_that_were_told_are_cancelled',
         'operate_walks::test_pages_miss_nothing_where_what_was_shown_is_cancelled'),
    ),
    Mutant(
        'walk-from-the-right', BEYOND, 'tasks that stay are passed over as others are taken',
        (operate('entries', "local ids = look('LRANGE', name, from, position + ARGV[4] - 1) or {}",
                 "local ids = look('LRANGE', name, -position - ARGV[4], -position - 1) or {}"),),
        ('operate_walks::test_tasks_that_stay_are_met_while_others_come_and_go',),
    ),
    Mutant(
        'walk-tells-twice', BEYOND, 'tasks that others have moved to the right are told twice',
        (client('operate/places', '        if mark in self.known:\n            return False\n', ''),),
        ('operate_walks::test_tasks_that_stay_are_met_while_others_come_and_go',
         'operate_walks::test_leases_that_are_renewed_meanwhile_are_told_once'),
    ),
    Mutant(
        'walk-remembers-all', BEYOND, 'a walk of a million tasks keeps all their ids',
        (client('operate/places', 'if len(self.order) > REMEMBERED:', 'if False:'),),
        ('operate_pages::test_a_walk_remembers_no_more_than_it_says',),
    ),
    Mutant(
        'walk-shows-holes', BEYOND, 'a cancelled task that has a hole is told to be pending',
        (operate('entries', 'if not holes or holes[k] == 0 then', 'if true then'),
         client('operate/pages', '    if task.place not in names:\n        return False\n', '')),
        ('operate_pages::test_holes_are_no_tasks',),
    ),
    Mutant(
        'walk-same-page-of-groups', BEYOND, 'a page of groups begins its names anew, and tells all of them again',
        (client('operate/places', 'if digest(name) not in self._done]', 'if name]'),),
        ('operate_pages::test_pages_go_on_within_the_groups_that_were_named_together',),
    ),
    Mutant(
        'cursor-of-anything', BEYOND, 'a cursor of another place shows tasks of nowhere',
        (client('operate/places', 'if data[:6] != self._seal(data[6:]):', 'if False:'),),
        ('operate_pages::test_an_unknown_place_and_a_cursor_of_another_are_refused',),
    ),
    Mutant(
        'page-endless', BEYOND, 'a page of what is rare looks at a whole queue',
        (
            client('operate/pages', ' and looked_at < look:', ':'),
            client('operate/pages', 'min(most - len(found), look - looked_at)', 'most - len(found)'),
        ),
        ('operate_pages::test_a_page_looks_at_no_more_than_it_is_told',),
    ),
    Mutant(
        'page-all-at-once', BEYOND, 'fifty large payloads are one reply',
        (operate('page', 'if bytes > most and #reply > 3 then', 'if false then'),),
        ('operate_pages::test_a_page_of_large_payloads_comes_in_several_replies',),
    ),
    Mutant(
        'page-keeps-payloads', BEYOND, 'a walk that wants names of functions keeps all payloads',
        (client('operate/viewing', 'told = item.payload if item.size <= room else None', 'told = item.payload'),),
        ('operate_pages::test_a_payload_is_told_up_to_a_length_and_its_function_further',),
    ),
    Mutant(
        'orphans-of-the-living', BEYOND, 'a task of a worker that lives is told to be with nobody',
        (client('operate/hearts', "if worker is not None and worker.state != 'lost':", 'if worker is self:'),),
        (ORPHANS,),
    ),
    Mutant(
        'orphans-at-once', BEYOND, 'a task that was taken a moment ago is told to be with nobody',
        (client('operate/hearts', 'now - renewed > lease / 2', 'now - renewed >= 0'),),
        (ORPHANS, 'operate_pages::test_the_worker_that_has_a_task_is_told_and_what_is_with_nobody'),
    ),
    Mutant(
        'holder-long-lost', BEYOND, 'a worker that was lost before is told to have a task that others took since',
        (client('operate/hearts', '(claimed or 0) > worker.seen + GRACE', 'False'),),
        (ORPHANS, 'operate_pages::test_the_worker_that_has_a_task_is_told_and_what_is_with_nobody'),
    ),
    Mutant(
        'orphans-that-are-renewed', BEYOND, 'a worker that cannot beat is told to have left all that it renews',
        (client('operate/hearts', 'worker is not None and renewed <= worker.seen + GRACE', 'worker is not None'),),
        (ORPHANS,),
    ),
    Mutant(
        'orphans-of-the-killed', BEYOND, 'what a killed worker had is nobody\'s only when half of its lease is over',
        (client('operate/hearts', 'worker is not None and renewed <= worker.seen + GRACE', 'False'),),
        (ORPHANS,),
    ),
    Mutant(
        'orphans-that-have-no-room', BEYOND, 'a task of a worker that cannot name all is told to be with nobody',
        (client('operate/hearts', 'all(worker.busy <= NAMED for worker in self.live)', 'True'),),
        (ORPHANS,),
    ),
    Mutant(
        'hearts-all-read', BEYOND, 'whoever asks for one task reads all that a thousand workers have in hand',
        (operate('crew', 'if most > 0 and is_named(health) then', 'if true then'),),
        ('operate_orphans::test_only_hearts_are_read_whole_that_tell_of_what_is_asked',),
    ),
    Mutant(
        'hearts-odd-ids', BEYOND, 'a task whose id has a quote in it is in nobody\'s hands',
        (operate('crew', "if string.find(text, '\\\\', 1, true) then", 'if false then'),),
        ('operate_orphans::test_task_is_found_in_hearts_whatever_its_id_is',),
    ),
    Mutant(
        'task-trouble-untold', BEYOND, 'a task without a payload is told to be well',
        (client('operate/viewing', "        return 'no payload'\n", '        return None\n'),),
        ('operate_hostile::test_what_is_wrong_with_a_task_is_told_in_words',),
    ),
    Mutant(
        'number-of-python', BEYOND, 'a hand-written number of 5,000 digits takes a page down',
        (client('operate/reading', "re.compile(rb'-?[0-9]{1,20}')", "re.compile(rb'-?[0-9]+')"),),
        ('operate_hostile::test_garbage_in_a_state_is_told_and_harms_nothing',),
    ),
    Mutant(
        'instant-of-no-calendar', BEYOND, 'a hand-written time takes down whoever shows it',
        (client('operate/reading', 'number is None or not 0 <= number < LATEST * 1000', 'number is None'),),
        ('operate_hostile::test_any_score_is_passed_by_and_told_as_no_instant',),
    ),
    Mutant(
        'serialiser-takes-down', BEYOND, 'a payload that its serialiser cannot read takes a page down',
        (client('operate/viewing', '    except BaseException:\n', '    except ValueError:\n'),),
        ('operate_hostile::test_a_payload_of_another_serialiser_is_told_as_bytes',),
    ),
    Mutant(
        'json-endless', BEYOND, 'a value that has itself in it cannot be written as JSON',
        (client('operate/values', 'if depth < DEEPEST:', 'if True:'),),
        ('operate_hostile::test_any_value_becomes_json',),
    ),
    Mutant(
        'groups-wait-without-heads', BEYOND, 'a group does not count its head',
        (operate('survey', 'waiting + (heads[k] and 1 or 0)', 'waiting'),),
        (MODEL, 'operate_groups::test_groups_are_told_by_a_figure_the_first_of_all'),
    ),
    Mutant(
        'groups-hurry', BEYOND, 'a survey of all groups leaves the server to nobody else',
        (client('operate/grouping', 'await asyncio.sleep(max(0.0, asked + PACE - time.monotonic()))',
                'await asyncio.sleep(0)'),),
        ('operate_groups::test_a_survey_keeps_few_and_leaves_the_server_to_others',),
    ),
    Mutant(
        'groups-all-kept', BEYOND, 'a survey of a million groups keeps all of them',
        (client('operate/grouping', 'if len(kept) > 2 * most + 10 * PART:', 'if False:'),),
        ('operate_groups::test_a_survey_keeps_few_and_leaves_the_server_to_others',),
    ),
    Mutant(
        'groups-default-lost', BEYOND, 'a group without limits of its own is told to have none',
        (client('operate/grouping', 'own.concurrency or others.concurrency', 'own.concurrency'),),
        ('operate_groups::test_limits_of_a_group_are_its_own_or_those_of_all',),
    ),
    Mutant(
        'limits-spoilt-unseen', BEYOND, 'the doctor says nothing of limits that nobody can read',
        (client('operate/limits', 'value.get(name) is not None and one is None', 'False'),),
        ('operate_examining::test_limits_that_cannot_be_read_are_told_and_set_anew',),
    ),
    Mutant(
        'spoilt-key-refuses', BEYOND, 'a key that holds something else takes down whole pages',
        (client('operate/asking', "        if 'WRONGTYPE' in str(exc):", "        if 'WRONG TYPE' in str(exc):"),),
        ('operate_examining::test_limits_that_cannot_be_read_are_told_and_set_anew',),
    ),
    Mutant(
        'spoilt-schedules-look-empty', BEYOND, 'a page of schedules whose key is spoilt looks as if there were none',
        (client('operate/scheduled', "broken = ('schedules',) if total is None else ()", 'broken = ()'),),
        ('operate_schedules::test_what_is_spoilt_is_told_and_the_rest_is_shown',),
    ),
    Mutant(
        'groups-tokens-still', BEYOND, 'a bucket does not fill',
        (client('operate/limits', '* starts / period)', '* 0)'),),
        ('operate_groups::test_a_bucket_fills_by_its_rate',),
    ),
    Mutant(
        'groups-tokens-of-an-instant-to-come', BEYOND, 'a bucket of an instant to come owes tokens',
        (client('operate/limits', 'now - min(at, now)', 'now - at'),),
        ('operate_groups::test_a_bucket_fills_by_its_rate',),
    ),
    Mutant(
        'pattern-of-files', BEYOND, 'brackets in names of groups are taken for a set of letters',
        (client('operate/grouping', "    first, *parts = pattern.split('*')\n",
                "    import fnmatch\n\n    return fnmatch.fnmatchcase(name, pattern)\n"
                "    first, *parts = pattern.split('*')\n"),),
        ('operate_groups::test_a_star_stands_for_any_text_and_nothing_else_does',),
    ),
    Mutant(
        'doctor-likes-eviction', BEYOND, 'a server that throws tasks away is told to be well',
        (client('operate/server', "'error' if tasks else 'warning', 'maxmemory-policy'", "'ok', 'maxmemory-policy'"),),
        ('operate_examining::test_a_server_that_throws_keys_away_is_an_error',),
    ),
    Mutant(
        'doctor-counts-holes', BEYOND, 'holes are told to be damage',
        (operate('sample', "name == 'turns' or look('SISMEMBER', 'holes', id) == 1", 'false'),),
        ('operate_examining::test_holes_are_nothing_that_is_wrong',),
    ),
    Mutant(
        'doctor-blind-to-places', BEYOND, 'tasks that nobody will ever take are not found',
        (client('operate/examining', 'if counted and found < rest:', 'if False:'),),
        ('operate_examining::test_tasks_in_no_place_are_found',),
    ),
    Mutant(
        'doctor-blind-to-slots', BEYOND, 'slots that nobody holds are not found',
        (operate('books', 'if tonumber(counted[k + 1]) ~= (held[name] or 0) then', 'if false then'),),
        ('operate_examining::test_slots_that_nobody_holds_are_found',),
    ),
    Mutant(
        'doctor-refused', BEYOND, 'a user who may not look at the settings is told nothing at all',
        (client('operate/server', "    except TorrelqueServerError:\n        return Note('note', NOTIFICATIONS,",
                "    except ValueError:\n        return Note('note', NOTIFICATIONS,"),),
        ('operate_servers::test_a_user_who_may_only_read_is_told_all_that_is_read',
         'operate_examining::test_a_refused_part_is_told_and_the_others_are_looked_at'),
    ),
    Mutant(
        'asking-for-ever', BEYOND, 'a script that the server has forgotten is asked for again for ten seconds',
        (client('aio/link', "elif code == 'NOSCRIPT' and request.transition is None:", 'elif False:'),),
        ('operate_servers::test_a_server_that_has_forgotten_the_scripts_is_told_them_again',),
    ),
    Mutant(
        'asking-to-write', BEYOND, 'whoever may only read is refused what only reads',
        (client('operate/asking', "suffix = '' if _old.get(queue) else '_RO'", "suffix = ''"),),
        ('operate_servers::test_a_user_who_may_only_read_is_told_all_that_is_read',),
    ),
)

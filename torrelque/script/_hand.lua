-- Hand a task out: note in its state that it is worked on.
--
-- These are lines among those of whoever uses them, so that a claim of one task does without a function.  They find
-- `key`, that of the task, and `known`, its status, lease and attempts so far; they leave `nth`, the number of the
-- attempt, and `held_for`, the length of the lease (ms).
local nth, held_for = (known[3] and tonumber(known[3]) or 0) + 1, tonumber(known[2]) or 300000
redis.call('HSET', key, 'status', WORKING, 'dequeue_count', nth, 'last_dequeue_time', claimed)

-- Hand a task out: note in its state that it is worked on.
--
-- These are lines among those of whoever uses them, so that a claim of one task does without a function.  They find
-- `key`, that of the task, and `known`, its status, lease and attempts so far; they leave `nth`, the number of the
-- attempt, and `held_for`, the length of the lease (ms).  A length that nobody can mean is as one that was lost: a sorted
-- set takes no score that is no number, after the task has left its place, and one that is infinite never ends.
local nth, held_for = (known[3] and tonumber(known[3]) or 0) + 1, tonumber(known[2]) or 300000
if not (held_for >= 0 and held_for <= 1e13) then
  held_for = 300000
end
redis.call('HSET', key, 'status', WORKING, 'dequeue_count', nth, 'last_dequeue_time', claimed)

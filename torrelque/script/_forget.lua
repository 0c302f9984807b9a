-- Forget the queue itself once its last task is gone: an empty queue is no key at all.
--
-- What is left in `pending` and `turns` then are holes.  Else the payload of a task was lost, which has to stay where the
-- next claim finds it, and tells; one that has a group is found by `heads`.
--@ keys tasks
local function forget()
  if redis.call('EXISTS', tasks) == 0 then
    --@ keys turns, holes, seq, bell
    redis.call('DEL', seq, bell)
    if redis.call('EXISTS', pending, turns) > 0 and redis.call('LLEN', pending) <= redis.call('SCARD', holes) then
      redis.call('UNLINK', pending, turns, holes)
    end
  end
end

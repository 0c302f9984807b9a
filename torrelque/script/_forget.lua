-- Forget the queue itself once its last task is gone: an empty queue is no key at all.
--
-- Keys   tasks
local function forget()
  if redis.call('EXISTS', tasks) == 0 then
    -- Keys   turns, holes, seq, bell
    redis.call('DEL', seq, bell)
    if redis.call('EXISTS', pending, turns) > 0 then
      -- What is left in them are holes.
      redis.call('UNLINK', pending, turns, holes)
    end
  end
end

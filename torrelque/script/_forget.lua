-- Forget the queue itself once its last task is gone: an empty queue is no key at all.
--
-- What is left in `pending` and `turns` then are holes.  If `pending` is longer than its holes are many, the hash of
-- payloads was lost: the ids stay where the next claim finds them, and reports them.  A task that has a group is found
-- by `heads`, so `turns` needs no such look.
--@ Keys tasks
local function forget()
  if redis.call('EXISTS', tasks) == 0 then
    --@ Keys turns, holes, seq, bell, spread
    -- As a rule, none of them is there.
    if redis.call('EXISTS', pending, turns, seq, bell, spread) > 0 then
      redis.call('DEL', seq, bell, spread)
      if redis.call('EXISTS', pending, turns) > 0 and redis.call('LLEN', pending) <= redis.call('SCARD', holes) then
        redis.call('UNLINK', pending, turns, holes)
      end
    end
  end
end

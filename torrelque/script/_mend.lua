-- Mend a task of which a part was lost (evicted, deleted or overwritten by hand) and which was just taken out of its
-- place.  If its payload is there the task goes to dead, where somebody sees it; else it can only be reported.
--
-- 'state_lost' | 'payload_lost' | 'lost'
--@ Keys tasks, dead
local function mend(id, known)
  if redis.call('HEXISTS', tasks, id) == 1 then
    redis.call('DEL', state .. id)
    --@ Keys untold
    redis.call('ZADD', dead, stamp, id)
    redis.call('ZADD', untold, stamp, id)
    redis.call('HSET', state .. id, 'status', DEAD, 'timeout', '300000', 'enqueue_time', stamp,
      'error', 'its state was lost')
    return 'state_lost'
  elseif known.err or not known[1] then
    redis.call('DEL', state .. id)
    return 'lost'
  end
  redis.call('HSET', state .. id, 'status', REJECTED, 'release_time', stamp, 'error', 'its payload was lost')
  redis.call('PEXPIRE', state .. id, 3600000)
  return 'payload_lost'
end

-- Mend a task of which a part was lost (evicted, deleted or overwritten by hand) and which was just taken out of its
-- place.  If its payload is there the task goes to dead, where somebody sees it; else it can only be reported.
--
-- A task of a flow is dead there too, or has ended as failed.
--
-- 'state_lost' | 'payload_lost' | 'lost'
--@ Keys tasks, dead
--@ Uses noted
local function mend(id, known)
  local flow = not known.err and redis.call('HGET', state .. id, 'flow')
  if not flow then
    -- As a rule, the id begins with that of its flow, and a full stop.
    local stop = string.find(id, '.', 1, true)
    while stop and not flow do
      local name = string.sub(id, 1, stop - 1)
      flow = redis.pcall('HEXISTS', base .. 'needs:' .. name, id) == 1 and name
      stop = string.find(id, '.', stop + 1, true)
    end
  end
  local guest = not flow and redis.call('HGET', base .. 'guests', id)
  local fine, stay = pcall(cjson.decode, guest or '')
  flow = fine and type(stay) == 'table' and type(stay[2]) == 'string' and stay[2] or flow
  if redis.call('HEXISTS', tasks, id) == 1 then
    redis.call('DEL', state .. id)
    --@ Keys untold
    redis.call('ZADD', dead, stamp, id)
    redis.call('ZADD', untold, stamp, id)
    redis.call('HSET', state .. id, 'status', DEAD, 'timeout', '300000', 'enqueue_time', stamp,
      'error', 'its state was lost')
    if flow then
      redis.call('HSET', state .. id, 'flow', flow, 'tied', 2)
      noted[#noted + 1] = {'died', id, flow}
    end
    return 'state_lost'
  elseif known.err or not known[1] then
    redis.call('DEL', state .. id)
    if flow then
      noted[#noted + 1] = {'failed', id, flow, 'its state was lost'}
    end
    return 'lost'
  end
  redis.call('HSET', state .. id, 'status', REJECTED, 'release_time', stamp, 'error', 'its payload was lost')
  redis.call('PEXPIRE', state .. id, 3600000)
  if flow then
    noted[#noted + 1] = {'failed', id, flow, 'its payload was lost'}
  end
  return 'payload_lost'
end

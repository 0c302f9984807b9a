-- working -> pending | dead, delayed -> pending
--
-- Bring back what is due, one bounded batch: tasks whose lease has run out and tasks whose time has come.
--
-- Uses   clear, forget, bury, mend, append, ring
-- ARGV   resent, tasks of each kind at the most
-- Reply  'ok', stale, delayed, dead (how many went each way), whether anything due may be left (1 or 0),
--        list of id and trouble by turns: 'state_lost' (the task is dead now) | 'payload_lost' | 'lost'
local most = tonumber(ARGV[2])
local stale, due, died, ready, troubles = 0, 0, 0, {}, {}

local function pend(id, known)
  redis.call('HSET', state .. id, 'status', PENDING)
  if known[2] then
    redis.call('HSET', state .. id, 'last_requeue_time', stamp, 'requeue_count', (tonumber(known[5]) or 0) + 1)
  end
  ready[#ready + 1] = id
end

local function come(key, status, each)
  local ids = redis.call('ZRANGEBYSCORE', key, '-inf', stamp, 'LIMIT', 0, most)
  for _, id in ipairs(ids) do
    local known = redis.pcall('HMGET', state .. id, 'status', 'dequeue_count', 'forgiven', 'max_attempts',
      'requeue_count')
    if not known.err and known[1] == CANCELLED and key == working then
      clear(id)
      stale = stale + 1
    else
      redis.call('ZREM', key, id)
      if known.err or not known[1] then
        troubles[#troubles + 1], troubles[#troubles + 2] = id, mend(id, known)
      elseif known[1] == status then
        each(id, known)
      end
    end
  end
  return #ids
end

local leases = come(working, WORKING, function(id, known)
  if used_up(known[2], known[3], known[4]) then
    lay(id, '', 'its lease ran out, its attempts are used up')
    died = died + 1
  else
    pend(id, known)
    stale = stale + 1
  end
end)
local delays = come(delayed, DELAYED, function(id, known)
  pend(id, known)
  due = due + 1
end)

append(ready)
if #ready > 0 then
  ring()
end
if leases > 0 then
  forget()
end

return {'ok', stale, due, died, (leases == most or delays == most) and 1 or 0, troubles}

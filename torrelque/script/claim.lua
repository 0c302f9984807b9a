-- pending -> working
--
-- Hand tasks out, the head of the queue first.  An id that says it is not pending is a hole that a cancelled task left,
-- and is skipped.  What a claim has given is on record until its reply is acknowledged, so that a claim that is sent
-- twice gives the same.  One claim at a time per consumer.
--
-- Uses   mend, ring, tend
-- ARGV   resent, record of a claim whose reply has come ('' is none), key for the record of this one,
--        tasks wanted, the number of which the consumer stays waiting when it gets fewer, block (ms), bytes at the most
-- Reply  'ok', server time (ms), ms until the nearest deadline (0 or less is due, nil is none), whether work is left
--        (1 or 0), list of id and trouble by turns, then by turns id, payload, attempt
--        trouble is 'state_lost' (the task is dead now) | 'payload_lost' | 'lost'
local record, wanted, most = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[7])
local reply = {'ok', stamp, false, 0, {}}
local given, troubles = {}, reply[5]

local function again(last)
  reply[2] = last.time
  for _, id in ipairs(last.ids) do
    local known = redis.pcall('HMGET', state .. id, 'status', 'dequeue_count', 'last_dequeue_time')
    local payload = redis.call('HGET', tasks, id)
    if not known.err and known[1] == WORKING and known[3] == last.time and payload then
      given[#given + 1] = id
      local n = #reply
      reply[n + 1], reply[n + 2], reply[n + 3] = id, payload, tonumber(known[2])
    end
  end
end

local function put_back(ids, from)
  local rest = {}
  for k = #ids, from, -1 do
    rest[#rest + 1] = ids[k]
  end
  redis.call('RPUSH', pending, unpack(rest))
end

local function take()
  local leases, holed, bytes = {}, 0, 0
  while #given < wanted and bytes < most and holed < 200 do
    local ids = redis.call('RPOP', pending, wanted - #given)
    if not ids then
      break
    end
    for k, id in ipairs(ids) do
      if bytes >= most then
        put_back(ids, k)
        break
      end
      local known = redis.pcall('HMGET', state .. id, 'status', 'timeout', 'dequeue_count')
      -- One by one: read together, a few hundred large payloads would be more than the server has memory for.
      local payload = known[1] == PENDING and redis.call('HGET', tasks, id)
      if payload and bytes > 0 and bytes + #payload > most then
        put_back(ids, k)
        bytes = most
        break
      elseif payload then
        local attempt = (tonumber(known[3]) or 0) + 1
        redis.call('HSET', state .. id, 'status', WORKING, 'dequeue_count', attempt, 'last_dequeue_time', stamp)
        local n = #leases
        leases[n + 1], leases[n + 2] = now + (tonumber(known[2]) or 300000), id
        n = #reply
        reply[n + 1], reply[n + 2], reply[n + 3] = id, payload, attempt
        given[#given + 1] = id
        bytes = bytes + #payload
      else
        holed = holed + 1
        if redis.call('SREM', holes, id) == 0 and (not known[1] or known[1] == PENDING) then
          troubles[#troubles + 1], troubles[#troubles + 2] = id, mend(id, known)
        end
      end
    end
  end
  if #leases > 0 then
    redis.call('ZADD', working, unpack(leases))
  end
end

if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
-- Looked for in any case: a call may arrive after its own repetition, from a connection that was given up.
local last = redis.call('GET', record)
if last then
  again(cjson.decode(last))
else
  take()
  if #given > 0 then
    redis.call('SET', record, cjson.encode({time = stamp, ids = given}), 'PX', 60000)
  end
end

local wait, more = tend(#given < tonumber(ARGV[5]), tonumber(ARGV[6]))
reply[3], reply[4] = wait, more and 1 or 0
return reply

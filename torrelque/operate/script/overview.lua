-- Overview: the figures of a queue at one moment.  What it costs does not depend on how large the queue is.
--
-- The oldest task is looked for at the ends of the lists: what was forgiven goes to the right end of `pending`, where it
-- may be younger than its neighbours, so that one is looked at 64 and one 256 places before.  Of those with a priority,
-- the first is looked at, and the first of the lowest priority, because those starve first.
--
-- Reply  server time (ms), list of the keys that hold something else, 1 if any worker has a heartbeat (0), then
--        tasks, working, delayed, dead, priority, length of pending, holes, heads, groups, rated, paused, whether the
--        queue is paused, delayed that are due, leases that have ended; probe of the queue, the oldest task's instant
--        (ms), how many tasks were looked at for it, the first time of dead, the last, the first of delayed (nil is none)
local stamp, pcall = string.format('%.0f', now), redis.pcall

-- How many there are of something; `look`, which notes a key that holds something else, is dearer.
local function count(command, name)
  local reply = pcall(command, base .. name)
  return type(reply) == 'number' and reply or look(command, name) or 0
end

-- The lowest score of a sorted set, or the highest.
local function score(name, at)
  local found = look('ZRANGE', name, at, at, 'WITHSCORES')
  return found and found[2] or false
end

local seen, looked_at, oldest = {}, 0, math.huge

-- Look at a task, if it is pending: since when it has been ready.
local function consider(id)
  if not id or seen[id] then
    return
  end
  seen[id] = true
  local known = pcall('HMGET', state .. id, 'status', 'enqueue_time', 'last_requeue_time', 'ready_time')
  if known[1] == '0' then
    local since = tonumber(known[2]) or 0
    for k = 3, 4 do
      since = known[k] and math.max(since, tonumber(known[k]) or 0) or since
    end
    looked_at = looked_at + 1
    oldest = since > 0 and since < oldest and since or oldest
  end
end

local function consider_all(ids)
  for _, id in ipairs(ids or {}) do
    consider(id)
  end
end

local length, heads, ranked = count('LLEN', 'pending'), count('HLEN', 'heads'), count('ZCARD', 'priority')
consider_all(look('LRANGE', 'pending', -3, -1))
for _, at in ipairs({-67, -259}) do
  if length >= -at then
    consider(look('LINDEX', 'pending', at))
  end
end
consider_all(look('LRANGE', 'turns', -3, -1))
if ranked > 0 then
  consider(look('ZRANGE', 'priority', 0, 0)[1])
  -- The score of a task is -priority x 2^45 + a running number.
  local class = math.floor((tonumber(score('priority', -1)) or 0) / 2 ^ 45) * 2 ^ 45
  consider_all(look('ZRANGEBYSCORE', 'priority', string.format('%.0f', class), '+inf', 'LIMIT', 0, 1))
end

local working, delayed, dead = count('ZCARD', 'working'), count('ZCARD', 'delayed'), count('ZCARD', 'dead')
local first, paused = delayed > 0 and score('delayed', 0), count('SCARD', 'paused')
return {stamp, broken, redis.call('EXISTS', base .. 'workers'),
  count('HLEN', 'tasks'), working, delayed, dead, ranked, length, count('SCARD', 'holes'), heads,
  count('HLEN', 'groups'), count('ZCARD', 'rated'), paused, paused > 0 and look('SISMEMBER', 'paused', '') or 0,
  first and tonumber(first) <= now and look('ZCOUNT', 'delayed', '-inf', stamp) or 0,
  working > 0 and look('ZCOUNT', 'working', '-inf', stamp) or 0, paused > 0 and look('HGET', 'probes', '') or false,
  oldest < math.huge and string.format('%.0f', oldest), looked_at,
  dead > 0 and score('dead', 0), dead > 0 and score('dead', -1), first}

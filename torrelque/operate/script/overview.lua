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
local stamp = string.format('%.0f', now)

local function count(command, ...)
  return tonumber(look(command, ...) or 0) or 0
end

-- The lowest score of a sorted set, or the highest.
local function score(name, at)
  local found = look('ZRANGE', name, at, at, 'WITHSCORES')
  return found and found[2] or false
end

local seen, looked_at, oldest = {}, 0, nil

-- Look at a task, if it is pending: since when it has been ready.
local function consider(id)
  if not id or seen[id] then
    return
  end
  seen[id] = true
  local known = redis.pcall('HMGET', state .. id, 'status', 'enqueue_time', 'last_requeue_time', 'ready_time')
  if known[1] == '0' then
    looked_at = looked_at + 1
    local since = math.max(tonumber(known[2] or 0) or 0, tonumber(known[3] or 0) or 0, tonumber(known[4] or 0) or 0)
    if since > 0 and (not oldest or since < oldest) then
      oldest = since
    end
  end
end

for _, name in ipairs({'pending', 'turns'}) do
  for _, id in ipairs(look('LRANGE', name, -3, -1) or {}) do
    consider(id)
  end
end
local length = count('LLEN', 'pending')
for _, at in ipairs({-67, -259}) do
  if length >= -at then
    consider(look('LINDEX', 'pending', at))
  end
end
local ranked = count('ZCARD', 'priority')
if ranked > 0 then
  consider(look('ZRANGE', 'priority', 0, 0)[1])
  -- The score of a task is -priority x 2^45 + a running number.
  local class = math.floor((tonumber(score('priority', -1)) or 0) / 2 ^ 45) * 2 ^ 45
  consider((look('ZRANGEBYSCORE', 'priority', string.format('%.0f', class), '+inf', 'LIMIT', 0, 1) or {})[1])
end

local working, delayed, dead = count('ZCARD', 'working'), count('ZCARD', 'delayed'), count('ZCARD', 'dead')
return {stamp, broken, count('EXISTS', 'workers'),
  count('HLEN', 'tasks'), working, delayed, dead, ranked, length, count('SCARD', 'holes'), count('HLEN', 'heads'),
  count('HLEN', 'groups'), count('ZCARD', 'rated'), count('SCARD', 'paused'), count('SISMEMBER', 'paused', ''),
  delayed > 0 and count('ZCOUNT', 'delayed', '-inf', stamp) or 0,
  working > 0 and count('ZCOUNT', 'working', '-inf', stamp) or 0,
  look('HGET', 'probes', '') or false, oldest and string.format('%.0f', oldest) or false, looked_at,
  dead > 0 and score('dead', 0), dead > 0 and score('dead', -1), delayed > 0 and score('delayed', 0)}

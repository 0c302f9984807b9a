-- Overview: the figures of a queue at one moment.  What it costs does not depend on how large the queue is.
--
-- The oldest task is looked for at the ends of the lists: what was forgiven goes to the right end of `pending`, where it
-- may be younger than its neighbours, so that behind such a one others are looked at, 64 and 256 places before too.  Of
-- those with a priority, the first is looked at, and the first of the lowest priority, because those starve first.
-- Where none is there, all that is pending waits in its groups, and the first task of some groups is looked at.
--
-- Reply  server time (ms), list of the keys that hold something else, 1 if any worker has a heartbeat (0), then
--        tasks, working, delayed, dead, priority, length of pending, holes, heads, groups, rated, paused, whether the
--        queue is paused, delayed that are due, leases that have ended; probe of the queue, the oldest task's instant
--        (ms), how many tasks were looked at for it, the first time of dead, the last, the first of delayed (nil is
--        none), schedules, waiting, the end of the lease that has ended first (ms, nil is none)
local call, pcall, type, tonumber = redis.call, read_raw, type, tonumber
local stamp = string.format('%.0f', now)

-- How many there are of something; `look`, which notes a key that holds something else, is dearer.
local function count(command, name)
  local reply = pcall(command, base .. name)
  return type(reply) == 'number' and reply or look(command, name) or 0
end

-- The first of a sorted set with its score, or the last.
local function at_end(name, at)
  return look('ZRANGE', name, at, at, 'WITHSCORES') or {}
end

local seen, looked_at, oldest = {}, 0, math.huge

-- Look at a task, if it is pending: since when it has been ready.  Returns whether it is there, and never was elsewhere.
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
    return not (known[3] or known[4])
  end
end

local function consider_all(ids)
  for k = 1, ids and #ids or 0 do
    consider(ids[k])
  end
end

local length, heads, ranked = count('LLEN', 'pending'), count('HLEN', 'heads'), count('ZCARD', 'priority')
-- Only what came back can be at the right end before its time, and is then the last.
if length > 0 and not consider(look('LINDEX', 'pending', -1)) then
  consider_all(look('LRANGE', 'pending', -3, -2))
  if length >= 67 then
    consider(look('LINDEX', 'pending', -67))
  end
  if length >= 259 then
    consider(look('LINDEX', 'pending', -259))
  end
end
if heads > 0 then
  consider_all(look('LRANGE', 'turns', -3, -1))
end
if ranked > 0 then
  local first, last = at_end('priority', 0), at_end('priority', -1)
  consider(first[1])
  -- The score of a task is -priority x 2^45 + a running number.
  local class = math.floor((tonumber(last[2]) or 0) / 2 ^ 45) * 2 ^ 45
  if class > (tonumber(first[2]) or 0) then
    consider_all(look('ZRANGEBYSCORE', 'priority', string.format('%.0f', class), '+inf', 'LIMIT', 0, 1))
  end
end

local tasks, groups = count('HLEN', 'tasks'), count('HLEN', 'groups')
local working, delayed, dead = count('ZCARD', 'working'), count('ZCARD', 'delayed'), count('ZCARD', 'dead')
local holes, rated, paused, schedules, waiting = 0, 0, 0, 0, 0
local there = call('EXISTS', base .. 'holes', base .. 'rated', base .. 'paused', base .. 'schedules', base .. 'waiting')
if there > 0 then
  holes, rated, paused = count('SCARD', 'holes'), count('ZCARD', 'rated'), count('SCARD', 'paused')
  -- Of those keys, these are there beside the others, if they are.
  local others = (holes > 0 and 1 or 0) + (rated > 0 and 1 or 0) + (paused > 0 and 1 or 0)
  if there > others then
    schedules, waiting = count('ZCARD', 'schedules'), count('ZCARD', 'waiting')
    -- Tasks of flows that are worked on in other queues.
    working = waiting > 0 and working + count('ZCARD', 'away') or working
  end
end

-- Groups that are paused or wait for a token, then others: the first tasks of eight at the most.
local function consider_groups()
  local left = 8
  local function add(found, step)
    for k = 1, math.min(found and #found or 0, 8 * step), step do
      local first = left > 0 and found[k] ~= '' and look('ZRANGE', 'group:' .. found[k], 0, 0)
      if first and first[1] and not seen[first[1]] then
        left = left - 1
        consider(first[1])
      end
    end
  end
  add(paused > 0 and (look('SSCAN', 'paused', 0, 'COUNT', 8) or {})[2], 1)
  add(rated > 0 and look('ZRANGE', 'rated', 0, 7), 1)
  add((look('HSCAN', 'groups', 0, 'COUNT', 8) or {})[2], 2)
end

if looked_at == 0 and tasks > working + delayed + dead + waiting then
  consider_groups()
end

local first = delayed > 0 and at_end('delayed', 0)[2] or false
local ended = working > 0 and look('ZCOUNT', 'working', '-inf', stamp) or 0
return {stamp, broken, count('ZCARD', 'workers') > 0 and 1 or 0, tasks, working, delayed, dead, ranked, length, holes,
  heads, groups, rated, paused, paused > 0 and look('SISMEMBER', 'paused', '') or 0,
  first and tonumber(first) <= now and look('ZCOUNT', 'delayed', '-inf', stamp) or 0,
  ended, paused > 0 and look('HGET', 'probes', '') or false,
  oldest < math.huge and string.format('%.0f', oldest), looked_at,
  dead > 0 and at_end('dead', 0)[2] or false, dead > 0 and at_end('dead', -1)[2] or false, first, schedules, waiting,
  ended > 0 and at_end('working', 0)[2] or false}

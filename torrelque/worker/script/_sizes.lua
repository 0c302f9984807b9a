-- What `beat` and `sizes` begin with: how many tasks a queue has, and for how long the oldest that is ready has been so.

-- A key of the queue, or 0 or {} where it holds something else.
local function look(base, empty, command, key, ...)
  local found = redis.pcall(command, base .. key, ...)
  return type(found) == 'table' and found.err and empty or found
end

-- The time (ms) since which a task has been ready; nil where it is not pending.
local function ready_since(base, id)
  local times = redis.pcall('HMGET', base .. 'task:' .. id, 'status', 'enqueue_time', 'last_requeue_time', 'ready_time')
  if times.err or times[1] ~= '0' then
    return nil
  end
  return math.max(tonumber(times[2]) or 0, tonumber(times[3]) or 0, tonumber(times[4]) or 0)
end

local function longest_wait(base, now)
  local ids = look(base, {}, 'LRANGE', 'pending', -3, -1)
  local function more(found)
    for _, id in ipairs(found) do
      ids[#ids + 1] = id
    end
  end
  more(look(base, {}, 'LRANGE', 'pending', -64, -64))
  more(look(base, {}, 'LRANGE', 'pending', -256, -256))
  more(look(base, {}, 'LRANGE', 'turns', -3, -1))
  more(look(base, {}, 'ZRANGE', 'priority', 0, 0))
  -- Those of the lowest priority starve first: what came first of them has the lowest score of their class.
  local lowest = look(base, {}, 'ZRANGE', 'priority', -1, -1, 'WITHSCORES')
  if lowest[2] then
    local class = string.format('%.0f', math.floor(lowest[2] / 2 ^ 45) * 2 ^ 45)
    more(look(base, {}, 'ZRANGEBYSCORE', 'priority', class, '+inf', 'LIMIT', 0, 1))
  end
  local first = now
  for _, id in ipairs(ids) do
    local since = ready_since(base, id)
    if since and since > 0 then
      first = math.min(first, since)
    end
  end
  return now - first
end

-- Pending, working, delayed and dead tasks, and the time (ms).
local function sizes_of(base, now)
  local function count(key)
    return look(base, 0, 'ZCARD', key)
  end
  local working, delayed, dead, waiting = count('working'), count('delayed'), count('dead'), count('waiting')
  -- Tasks of flows may be worked on in other queues.
  working = waiting > 0 and working + count('away') or working
  local pending = math.max(0, look(base, 0, 'HLEN', 'tasks') - waiting - working - delayed - dead)
  return {pending, working, delayed, dead, longest_wait(base, now)}
end


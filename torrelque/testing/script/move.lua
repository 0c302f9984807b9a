-- Move the clock of a queue: all that waits for a time is that much nearer to it, and what would have expired is gone.
--
-- Instants that tell what happened stay as they are, those of failed attempts among them; one is a part of the token of
-- a delivery.
--
-- KEYS   pending, never
-- ARGV   how far (ms), 0 is only to look
-- Reply  server time (ms), the next time for which something waits (ms, nil is none), the next for which a task waits
local base = string.sub(KEYS[1], 1, -8)
local far = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function first(name)
  return tonumber(redis.call('ZRANGE', base .. name, 0, 0, 'WITHSCORES')[2]) or math.huge
end

-- Page by rank: all scores change by the same, so no item overtakes another meanwhile.
local function shift(name)
  local start = 0
  repeat
    local items, changed = redis.call('ZRANGE', base .. name, start, start + 999, 'WITHSCORES'), {}
    for j = 1, #items, 2 do
      changed[j], changed[j + 1] = string.format('%.0f', items[j + 1] - far), items[j]
    end
    if #items > 0 then
      redis.call('ZADD', base .. name, unpack(changed))
    end
    start = start + 1000
  until #items < 2000
end

local function sooner(instant)
  return string.format('%.0f', math.max(0, instant - far))
end

-- Keys with a time to live: final states, buckets, records of claims, what hearts have counted.  A change may have the
-- server move a key, and then the scan may find it twice; so all are read before any is changed.  The hearts themselves
-- stay: their workers beat on, by the server's clock.
local function mortal()
  local found, cursor = {}, '0'
  local pattern = string.gsub(base, '[*?%[%]\\]', '\\%0') .. '*'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do
      local left = redis.call('PTTL', key)
      local of_heart = key == base .. 'workers' or string.sub(key, 1, #base + 7) == base .. 'worker:'
      found[key] = left >= 0 and not of_heart and left or nil
    end
  until cursor == '0'
  return found
end

-- Calls of decorated functions that expire: the time that they have from being enqueued on is in their payload.
local function age()
  -- A scan may find a task twice, so all are read before any is changed.
  local cursor, form, found = '0', '^(%s*{"task":%s*"[^"\\]*",[^{%[]-"expires":%s*)([%d.]+)', {}
  repeat
    local page = redis.call('HSCAN', base .. 'tasks', cursor, 'COUNT', 1000)
    cursor = page[1]
    for j = 1, #page[2], 2 do
      local payload = page[2][j + 1]
      local head, left = string.match(payload, form)
      if head then
        local rest = string.sub(payload, #head + #left + 1)
        left = string.format('%.3f', math.max(0, left - far / 1000))
        found[page[2][j]] = head .. left .. rest
      end
    end
  until cursor == '0'
  for id, payload in pairs(found) do
    redis.call('HSET', base .. 'tasks', id, payload)
  end
end

-- Schedules: their instants, and what they know of the last one.  How far all were moved is kept, because calendars are
-- asked for the time as it would be.
local function schedules()
  shift('schedules')
  for _, name in ipairs(redis.call('ZRANGE', base .. 'schedules', 0, -1)) do
    local key, times, moved = base .. 'schedule:' .. name, base .. 'times:' .. name, {}
    for j, instant in ipairs(redis.call('LRANGE', times, 0, -1)) do
      moved[j] = sooner(instant)
    end
    if #moved > 0 then
      redis.call('DEL', times)
      redis.call('RPUSH', times, unpack(moved))
    end
    local every, phase = unpack(redis.call('HMGET', key, 'every', 'phase'))
    every, phase = tonumber(every or ''), tonumber(phase or '')
    if every and phase then
      -- Multiples of the period are where they would be.
      redis.call('HSET', key, 'phase', string.format('%.0f', (phase - far) % every))
    end
    for _, field in ipairs({'last', 'until', 'since'}) do
      local instant = tonumber(redis.call('HGET', key, field) or '')
      if instant then
        redis.call('HSET', key, field, sooner(instant))
      end
    end
  end
  redis.call('INCRBY', base .. 'moved', far)
end

if far > 0 then
  age()
  if redis.call('EXISTS', base .. 'schedules') == 1 then
    schedules()
  end
  local bucket = base .. 'rate:'
  for key, left in pairs(mortal()) do
    if left <= far then
      redis.call('DEL', key)
    else
      if string.sub(key, 1, #bucket) == bucket then
        local tokens, since = string.match(redis.call('GET', key), '^(%S+) (%d+)$')
        if tokens then
          redis.call('SET', key, tokens .. ' ' .. sooner(since))
        end
      end
      redis.call('PEXPIRE', key, string.format('%.0f', left - far))
    end
  end
  local probes = redis.call('HGETALL', base .. 'probes')
  for j = 1, #probes, 2 do
    local instant, every = string.match(probes[j + 1], '^(%d+) (%d+)$')
    if instant then
      redis.call('HSET', base .. 'probes', probes[j], sooner(instant) .. ' ' .. every)
    end
  end
  for _, name in ipairs({'delayed', 'working', 'rated', 'untold'}) do
    shift(name)
  end
  if redis.call('EXISTS', base .. 'tasks', base .. 'schedules') > 0 and redis.call('EXISTS', base .. 'bell') == 0 then
    -- Consumers that wait keep the time of the next deadline, which is another one now; so ring for them.
    redis.call('LPUSH', base .. 'bell', '1')
  end
end

local nearest = math.min(first('delayed'), first('working'), first('rated'))
if redis.call('SISMEMBER', base .. 'paused', '') == 1 and
    redis.call('EXISTS', KEYS[1], base .. 'turns', base .. 'priority') > 0 then
  -- The queue is paused as a whole, and its probes let a task through now and then; so the next probe counts as well.
  local probe = string.match(redis.call('HGET', base .. 'probes', '') or '', '^(%d+) ')
  nearest = math.min(nearest, tonumber(probe) or math.huge)
end
local fires = first('schedules')
local any = math.min(nearest, fires)
return {now, any < math.huge and any, nearest < math.huge and nearest}

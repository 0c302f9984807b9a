-- Outlook: whether a task is pending that time, or whoever works now, will let through.
--
-- A group waits for a token or, at its limit, for a slot.  Tasks that wait for no more than these are worth waiting for.
-- Tasks that wait for the end of a pause, behind a delayed task of their group, or for other tasks of a flow, are not.
--
-- KEYS   pending, never
-- ARGV   how many of the tasks in work to pass over
-- Reply  'yes' | 'no' | 'look on' (call again, passing PAGE more over)
local PAGE = 500
local base = string.sub(KEYS[1], 1, -8)
local paused = base .. 'paused'

local function size(command, name)
  return redis.call(command, base .. name)
end

-- What is carried to another queue, or brings news home, is on its way: whoever serves both has a task then.  What could
-- not be carried several times is not waited for.
for place, key in pairs({away = 'task:', outbox = 'letter:'}) do
  local first = redis.call('ZRANGEBYSCORE', base .. place, '-inf', '(+inf', 'LIMIT', 0, 1)[1]
  if first and (tonumber(redis.call('HGET', base .. key .. first, 'tries') or nil) or 0) <= 3 then
    return 'yes'
  end
end

local placed = size('ZCARD', 'working') + size('ZCARD', 'delayed') + size('ZCARD', 'dead') + size('ZCARD', 'waiting') +
  size('ZCARD', 'away')
if size('HLEN', 'tasks') <= placed or redis.call('SISMEMBER', paused, '') == 1 then
  return 'no'
end
if redis.call('EXISTS', KEYS[1], base .. 'turns', base .. 'priority') > 0 then
  -- A task is there to be taken: it came after the burst had asked.
  return 'yes'
end

-- Groups that wait for a token.  A group that waits for a probe is in this key, too, and is paused.
local waiting_for_token = size('ZCARD', 'rated')
if waiting_for_token > redis.call('SCARD', paused) then
  return 'yes'
end
for _, name in ipairs(waiting_for_token > 0 and redis.call('ZRANGE', base .. 'rated', 0, 999) or {}) do
  if redis.call('SISMEMBER', paused, name) == 0 then
    return 'yes'
  end
end

-- Groups of which a task is worked on, so that a slot will be free.
local from = tonumber(ARGV[1])
local ids = redis.call('ZRANGE', base .. 'working', from, from + PAGE - 1)
local seen = {}
for _, name in ipairs(#ids > 0 and redis.call('HMGET', base .. 'holders', unpack(ids)) or {}) do
  if name and not seen[name] then
    seen[name] = true
    if redis.call('EXISTS', base .. 'group:' .. name) == 1 and redis.call('SISMEMBER', paused, name) == 0 then
      return 'yes'
    end
  end
end
return #ids == PAGE and 'look on' or 'no'

-- Outlook: whether a pending task will be handed out without anybody's doing: when its time comes, or when a task that
-- is worked on now is settled.
--
-- A group waits for a token or, at its limit, for a slot: a task there is worth waiting for.  A task that waits for the
-- end of a pause, or behind a task of its group that is delayed, is not.
--
-- KEYS   pending, never
-- ARGV   how many of the tasks that are worked on to pass over
-- Reply  'yes' | 'no' | 'look on' (behind so many more)
local PAGE = 500
-- Without `pending`, the last seven characters.
local base = string.sub(KEYS[1], 1, -8)
local paused = base .. 'paused'

local function size(command, name)
  return redis.call(command, base .. name)
end

local placed = size('ZCARD', 'working') + size('ZCARD', 'delayed') + size('ZCARD', 'dead')
if size('HLEN', 'tasks') <= placed or redis.call('SISMEMBER', paused, '') == 1 then
  return 'no'
end
if redis.call('EXISTS', KEYS[1], base .. 'turns', base .. 'priority') > 0 then
  -- A task may be taken at once; it came in after the last claim.
  return 'yes'
end

-- Groups in `rated` wait for a token or a probe.  A group that waits for a probe is paused as well, so if they are more
-- than the paused ones, some wait for a token.
local waiting = size('ZCARD', 'rated')
if waiting > redis.call('SCARD', paused) then
  return 'yes'
end
for _, name in ipairs(waiting > 0 and redis.call('ZRANGE', base .. 'rated', 0, 999) or {}) do
  if redis.call('SISMEMBER', paused, name) == 0 then
    return 'yes'
  end
end

-- A group of which a task is worked on will have a slot free.
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

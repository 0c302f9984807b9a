-- What all scripts of this layer begin with: how the queue's keys begin, and the server's time (ms).  They only read.
--
-- KEYS   pending, never
-- Reading is by `look`, which answers an empty value where a key holds something else, and notes the key's short name
-- in `broken`: one spoilt key takes no page down.
local base = string.sub(KEYS[1], 1, -8)
local state = base .. 'task:'
local now
do
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local broken, found_broken = {}, {}

local function look(command, name, ...)
  local reply = redis.pcall(command, base .. name, ...)
  if type(reply) == 'table' and reply.err then
    if not found_broken[name] then
      found_broken[name] = true
      broken[#broken + 1] = name
    end
    return nil
  end
  return reply
end

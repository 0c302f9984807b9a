-- What all scripts of this layer begin with: how the queue's keys begin, and the server's time (ms).  They only read.
--
-- KEYS   pending, never
-- Reading is by `look`, which answers an empty value where a key holds something else, and notes the key's short name
-- in `broken`: one spoilt key takes no page down.  `read_raw` replies the error itself.  A right that the user lacks is no
-- damage: it ends the script, and the error names the command and the key.
local base = string.sub(KEYS[1], 1, -8)
local state = base .. 'task:'
local now
do
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local broken, found_broken = {}, {}

local function read_raw(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  local why = type(reply) == 'table' and reply.err
  if why and (string.find(why, 'NOPERM') or string.find(why, 'ACL failure') or
      string.find(why, "user executing the script can't")) then
    error(string.gsub(why, '^ERR ', '') .. ': ' .. command .. ' ' .. key, 0)
  end
  return reply
end

local function look(command, name, ...)
  local reply = read_raw(command, base .. name, ...)
  if type(reply) == 'table' and reply.err then
    if not found_broken[name] then
      found_broken[name] = true
      broken[#broken + 1] = name
    end
    return nil
  end
  return reply
end

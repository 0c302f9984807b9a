-- Left: look for what is here, or is to come here, of groups and ids that are of other shards by now.
--
-- ARGV   resent, where: 'groups' that have tasks, 'waiting' or 'away' tasks of flows, 'tasks' with ids of callers' own, or
--        what is 'kept' of these; where to go on there ('0' at first)
-- Reply  'ok', where to go on ('0' is nowhere), then names of groups, or ids
--@ Keys groups, tasks, waiting, away
--@ Uses share (home_of, divided, strayed)
local place, keyed = ARGV[2], tonumber(redis.call('HGET', growth, 'keyed'))
local reply = {'ok', '0'}
if not keyed then
  return reply
end

-- The group of a task of a flow, where that is not of the shard in which it will be worked on.
local function astray(id)
  local known = redis.pcall('HMGET', state .. id, 'group', 'queue')
  local group, queue = known[1], known[2]
  if known.err or not group then
    return nil
  elseif not queue then
    return strayed(group) and group
  end
  local number = string.match(queue, ':(%d+)[%d.]*}$')
  local mine, theirs = string.match(base, '^(.*):[%d.]+}:$'), string.match(queue, '^(.*):[%d.]+}$')
  return number and mine == theirs and home_of(group, keyed) ~= tonumber(number) and group
end

-- Whether an id is a caller's own, without a group, and of another shard.
local function is_own(id)
  if not strayed(id) or string.find(id, '^' .. string.rep('%x', 28) .. '%.%d%d%d') then
    return false
  end
  local known = redis.pcall('HMGET', state .. id, 'status', 'mark', 'group')
  return not known.err and known[1] and known[1] ~= CANCELLED and known[2] and not known[3]
end

local page, step = nil, 2
if place == 'groups' or place == 'tasks' then
  page = redis.call('HSCAN', place == 'groups' and groups or tasks, ARGV[3], 'COUNT', 100)
elseif place == 'kept' then
  page, step = redis.call('SCAN', ARGV[3], 'MATCH', string.gsub(state, '[%[%]%*%?\\^]', '\\%0') .. '*', 'COUNT', 1000), 1
else
  page = redis.call('ZSCAN', place == 'away' and away or waiting, ARGV[3], 'COUNT', 100)
end
reply[2] = page[1]
for k = 1, #page[2], step do
  local found = page[2][k]
  if place == 'groups' then
    found = strayed(found) and found
  elseif place == 'tasks' then
    found = is_own(found) and found
  elseif place == 'kept' then
    found = string.sub(found, #state + 1)
    found = is_own(found) and found
  else
    found = astray(found)
  end
  if found then
    reply[#reply + 1] = found
  end
end

return reply

-- Left: look for what is here, or is to come here, of groups and ids that are of other shards by now.
--
-- ARGV   resent, where: 'groups' that have tasks, 'waiting' or 'away' tasks of flows, 'tasks' with ids of callers' own, or
--        what is 'kept' of these; where to go on there ('0' at first)
-- Reply  'ok', where to go on ('0' is nowhere), then names of groups, or ids
--@ Keys groups, tasks, waiting, away
--@ Uses share (home_of, home_of_group, divided, strayed)
local place, reply = ARGV[2], {'ok', '0'}
local known = redis.call('HMGET', growth, 'keyed', 'number')
local keyed, number = tonumber(known[1]), tonumber(known[2])
if not keyed then
  return reply
end

-- The group of a task of a flow, where that is not of the shard in which it will be worked on.
local function astray(id)
  local its = redis.pcall('HMGET', state .. id, 'group', 'queue')
  local group, queue = its[1], its[2]
  if its.err or not group then
    return nil
  elseif not queue then
    return strayed(group) and group
  end
  local there = string.match(queue, ':(%d+)[%d.]*}$')
  local mine, theirs = string.match(base, '^(.*):[%d.]+}:$'), string.match(queue, '^(.*):[%d.]+}$')
  return there and mine == theirs and home_of_group(group, keyed) ~= tonumber(there) and group
end

-- Whether an id is a caller's own, without a group, and of another shard.
local function is_own(id)
  local named, rest = string.match(id, '^' .. string.rep('[0-9a-f]', 28) .. '%.(%d%d%d)(.?)')
  if home_of(id, keyed) == number or named and tonumber(named) < keyed and (rest == '' or rest == '.') then
    return false
  end
  local its = redis.pcall('HMGET', state .. id, 'status', 'mark', 'group')
  return not its.err and its[1] and its[1] ~= CANCELLED and its[2] and not its[3]
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

-- Soundness of a place: some of its ids from both ends, and what is wrong with their tasks, seen at one moment.
--
-- ARGV   short name of the place, ids from each end at the most
-- Reply  how many were looked at, the length of the longest payload, its id, then by turns what is wrong, an id
local name, most = ARGV[1], tonumber(ARGV[2])
local STATUSES = {pending = {'0'}, turns = {'0'}, priority = {'0'}, working = {'1', '6'}, delayed = {'2'}, dead = {'5'},
  waiting = {'7', '6'}}
local list = name == 'pending' or name == 'turns'
local read = list and 'LRANGE' or 'ZRANGE'
local ids, taken = {}, {}
for _, ends in ipairs({{0, most - 1}, {-most, -1}}) do
  for _, id in ipairs(look(read, name, unpack(ends)) or {}) do
    if not taken[id] then
      taken[id], ids[#ids + 1] = true, id
    end
  end
end

-- What is wrong with a task; nil is nothing.
local function judge(id)
  local status = read_raw('HGET', state .. id, 'status')
  if type(status) == 'table' then
    return 'its state is no hash'
  end
  local payload = look('HEXISTS', 'tasks', id) == 1
  if list and status ~= '0' and (status or not payload) then
    -- It is a hole, if it is known as one, or its task is gone.
    local known = name == 'turns' or look('SISMEMBER', 'holes', id) == 1
    return not known and 'it has no task' or nil
  elseif not status then
    return payload and 'it has no state' or 'it has neither state nor payload'
  elseif not payload then
    return 'it has no payload'
  elseif status ~= STATUSES[name][1] and status ~= STATUSES[name][2] then
    return 'its status is that of another place'
  elseif look('PTTL', 'task:' .. id) >= 0 then
    return 'its state has a time to live'
  end
end

local longest, whose, troubles = 0, '', {}
for _, id in ipairs(ids) do
  local wrong, size = judge(id), look('HSTRLEN', 'tasks', id) or 0
  if size > longest then
    longest, whose = size, id
  end
  if wrong then
    troubles[#troubles + 1], troubles[#troubles + 2] = wrong, id
  end
end

return {#ids, longest, whose, unpack(troubles)}

-- Useful: how many slots of workers have something to do; what of that is in groups is counted some groups at a time.
--
-- Of a group that is paused by its name, or waits for a token, nothing can go; of another one its head, which has a slot
-- already, and of the others that wait no more than there are free slots.  Where no group can be limited or paused, all
-- of them are counted at once.  What is due and was not moved, because no worker sweeps, has use for one, too.
--
-- ARGV   cursor of HSCAN ('' is only the rest), about how many groups
-- Reply  server time (ms), list of the keys that hold something else, whether the queue is paused (1 or 0), tasks that
--        are worked on here, plain tasks, those with a priority, delayed ones that are due, heads of groups, groups; all
--        that waits in groups where nothing limits them (nil is that something may), the next cursor ('0' is the end);
--        then name and number by turns, of groups of which tasks can go
local paused = look('SISMEMBER', 'paused', '') or 0
local plain = math.max(0, (look('LLEN', 'pending') or 0) - (look('SCARD', 'holes') or 0))
local ranked, working = look('ZCARD', 'priority') or 0, look('ZCARD', 'working') or 0
local due = look('ZCOUNT', 'delayed', '-inf', string.format('%.0f', now)) or 0
local reply = {now, broken, paused, working, plain, ranked, due, look('HLEN', 'heads') or 0, look('HLEN', 'groups') or 0,
  false, '0'}

if redis.call('EXISTS', base .. 'limits', base .. 'paused') == 0 then
  local elsewhere = look('ZCARD', 'away') or 0
  for _, name in ipairs({'waiting', 'delayed', 'dead'}) do
    elsewhere = elsewhere + (look('ZCARD', name) or 0)
  end
  reply[10] = math.max(0, (look('HLEN', 'tasks') or 0) - elsewhere - working - plain - ranked)
  return reply
end
if ARGV[1] == '' then
  return reply
end

-- How many slots a text of limits allows; nil where it says nothing.
local function slots_of(text)
  local fine, value = pcall(cjson.decode, text or '')
  local most = fine and type(value) == 'table' and value.concurrency
  if type(most) ~= 'number' then
    return nil
  end
  return most > 0 and most or math.huge
end

local found = look('HSCAN', 'groups', ARGV[1], 'COUNT', ARGV[2]) or {'0', {}}
reply[11] = found[1]
local names = {}
for k = 1, #found[2], 2 do
  names[#names + 1] = found[2][k]
end
if #names == 0 then
  return reply
end

-- A field of each group; where the key holds something else, or nothing, of none.
local function all(command, name)
  return redis.call('EXISTS', base .. name) == 1 and look(command, name, unpack(names)) or {}
end

local limits, heads, shut = all('HMGET', 'limits'), all('HMGET', 'heads'), all('SMISMEMBER', 'paused')
if #shut > 0 and look('SISMEMBER', 'paused', '\255') == 1 then
  -- A shard that groups come to, and that hands none of them out yet.
  return reply
end
local default = slots_of(look('HGET', 'limits', '')) or math.huge
local rated = (look('ZCARD', 'rated') or 0) > 0
local pcall, min, max, members = read_raw, math.min, math.max, base .. 'group:'
for k, name in ipairs(names) do
  local most, used = limits[k] and slots_of(limits[k]) or default, tonumber(found[2][2 * k]) or 0
  local head = heads[k] and used <= most and 1 or 0
  local due = rated and head == 0 and tonumber(look('ZSCORE', 'rated', name) or nil)
  if shut[k] ~= 1 and not (due and due > now) then
    -- `look`, which notes a key that holds something else, is dearer.
    local length = pcall('ZCARD', members .. name)
    length = type(length) == 'number' and length or look('ZCARD', 'group:' .. name) or 0
    local number = head + max(0, min(length, most - used))
    if number > 0 then
      reply[#reply + 1], reply[#reply + 2] = name, number
    end
  end
end
return reply

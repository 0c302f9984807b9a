-- Groups: what there is of some of them, read at one moment.
--
-- ARGV   cursor of HSCAN, about how many groups; or '' and '', and names of groups
-- Reply  server time (ms), list of the keys that hold something else, the next cursor ('0' is the end), the limits of
--        all groups ('' is none), then one of these per group: a list of
--        name, tasks that wait, slots in use (nil is none), head, limits, whether it is paused, its probe, its bucket,
--        since when its first task has been ready (ms); what is not there is nil
local cursor, names, slots = '0', {unpack(ARGV, 3)}, nil
if ARGV[1] ~= '' then
  local found = look('HSCAN', 'groups', ARGV[1], 'COUNT', ARGV[2]) or {'0', {}}
  cursor, slots = found[1], {}
  for k = 1, #found[2], 2 do
    names[#names + 1], slots[#slots + 1] = found[2][k], found[2][k + 1]
  end
end
local reply = {string.format('%.0f', now), broken, cursor, look('HGET', 'limits', '') or ''}
if #names == 0 then
  return reply
end

-- A field of each group, or whether it is a member; where the key holds something else, or nothing, of none.
local function all(name, command)
  return redis.call('EXISTS', base .. name) == 1 and look(command or 'HMGET', name, unpack(names)) or {}
end

-- Since when a task has been ready.
local function since(id)
  local known = read_raw('HMGET', state .. id, 'enqueue_time', 'last_requeue_time', 'ready_time')
  local found = math.max(tonumber(known[1] or 0) or 0, tonumber(known[2] or 0) or 0, tonumber(known[3] or 0) or 0)
  return found > 0 and string.format('%.0f', found)
end

slots = slots or all('groups')
local heads, limits, probes, paused = all('heads'), all('limits'), all('probes'), all('paused', 'SMISMEMBER')
-- All groups of a shard that is shut wait, as those do that have come to it.
local shut = #paused > 0 and look('SISMEMBER', 'paused', '\255') == 1
-- Without limits no group has a bucket that counts.
local limited = redis.call('EXISTS', base .. 'limits') == 1
for k, name in ipairs(names) do
  local waiting, first = look('ZCARD', 'group:' .. name) or 0, heads[k] or nil
  if not first and waiting > 0 then
    first = look('ZRANGE', 'group:' .. name, 0, 0)[1]
  end
  -- As for a claim, a bucket that holds something else is a full one.
  local bucket = limited and read_raw('GET', base .. 'rate:' .. name)
  reply[#reply + 1] = {name, waiting + (heads[k] and 1 or 0), slots[k] or false, heads[k] or false, limits[k] or false,
    shut and 1 or paused[k] or 0, probes[k] or false, type(bucket) == 'string' and bucket or false, first and since(first) or false}
end

return reply

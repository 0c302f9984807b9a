-- Look for lists of instants that run low, or are used up, among some of the schedules.
--
-- KEYS   pending, never
-- ARGV   where to go on ('0' is the beginning), schedules to look at, about; a list has enough instants with so many, and
--        too few with less than so many; in between it is to last so long (ms)
-- Reply  where to go on ('0' is the end), then names
local base = string.sub(KEYS[1], 1, -8)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local enough, few, span = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local page = redis.call('ZSCAN', base .. 'schedules', ARGV[1], 'COUNT', ARGV[2])
local names, items = {page[1]}, page[2]
for k = 1, #items, 2 do
  local times = base .. 'times:' .. items[k]
  -- What fires each so many ms has no list, and its next instant is known.  A list may have been spoilt by hand.
  local count = redis.pcall('LLEN', times)
  if type(count) == 'number' and count < enough and (count > 0 or items[k + 1] == 'inf') then
    if count < few or (tonumber(redis.call('LINDEX', times, -1)) or 0) - now < span then
      names[#names + 1] = items[k]
    end
  end
end

return names

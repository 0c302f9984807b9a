-- Enlarge: the sample of sizes that a beat has just taken of the first shard becomes one of the whole queue.
--
-- KEYS   pending, never
-- ARGV   of the other shards together: pending, working, delayed and dead tasks; ms for which the oldest of theirs that
--        is ready has been so
local base = string.sub(KEYS[1], 1, -8)
local now = tonumber(redis.call('TIME')[1])
local minute = base .. string.format('minute:%.0f', math.floor(now / 60))
local hour = base .. string.format('hour:%.0f', math.floor(now / 3600))

local function sizes_in(record)
  local text = redis.pcall('HGET', record, '*sizes')
  local well, found = pcall(cjson.decode, type(text) == 'string' and text or '')
  return well and type(found) == 'table' and #found == 8 and found
end

local sizes = sizes_in(minute)
if not sizes then
  -- The minute is over, and the next sample is taken in a moment.
  return 0
end
for k = 1, 4 do
  sizes[k] = sizes[k] + ARGV[k]
end
sizes[5] = math.max(sizes[5], tonumber(ARGV[5]))
redis.call('HSET', minute, '*sizes', cjson.encode(sizes))
local highest = sizes_in(hour)
if highest then
  for k = 1, #sizes do
    highest[k] = math.max(highest[k], sizes[k])
  end
  redis.call('HSET', hour, '*sizes', cjson.encode(highest))
end
return 1

-- Due: how long it is until a schedule fires.
--
-- KEYS   schedules
-- Reply  ms, 0 or less where one is due by now; nil where none is to fire
local first = tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
if not first or first == math.huge then
  return false
end
local time = redis.call('TIME')
return math.ceil(first - time[1] * 1000 - time[2] / 1000)

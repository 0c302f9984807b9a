-- What time it is for the schedules of a queue.
--
-- KEYS   pending, never
-- Reply  server time (ms), how far a clock of tests has moved the schedules (ms)
local base = string.sub(KEYS[1], 1, -8)
local time = redis.call('TIME')
return {time[1] * 1000 + math.floor(time[2] / 1000), tonumber(redis.call('GET', base .. 'moved')) or 0}

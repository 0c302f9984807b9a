-- Sizes: those of one shard of a queue, for the records that its first shard has of the whole.
--
-- KEYS   pending, never
-- Reply  pending, working, delayed and dead tasks, ms for which the oldest that is ready has been so
local time = redis.call('TIME')
return sizes_of(string.sub(KEYS[1], 1, -8), time[1] * 1000 + math.floor(time[2] / 1000))

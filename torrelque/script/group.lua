-- Group: its tasks, slots, limits and pause, read at one moment.
--
-- ARGV   resent, group
-- Reply  'ok', tasks that wait, slots in use, its limits and those by default (as they were set, '' is none), whether
--        it is paused, whether the queue is (1 or 0)
--@ Keys groups, heads, limits, paused
local group = ARGV[2]
local waiting = redis.call('ZCARD', base .. 'group:' .. group) + redis.call('HEXISTS', heads, group)
local given = redis.call('HMGET', limits, group, '')

return {'ok', waiting, tonumber(redis.call('HGET', groups, group)) or 0, given[1] or '', given[2] or '',
  redis.call('SISMEMBER', paused, group), redis.call('SISMEMBER', paused, '')}

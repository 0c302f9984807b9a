-- Unschedule: forget a schedule.
--
-- Tasks that it has enqueued stay.
--
-- ARGV   resent, name, source ('' is any), revision ('' is any)
-- Reply  'ok' when it is gone, else a list with one of these:
--        'ok'       it is gone
--        'unknown'  there is none
--        'other'    it has another source
--        'older'    it has a higher revision
--@ Keys schedules, limits, groups, later
--@ Uses forget
local name = ARGV[2]
local key = base .. 'schedule:' .. name
local times = base .. 'times:' .. name
-- What is left of one that was spoilt by hand is removed as well: of an error's table nothing is known.
local known = redis.pcall('HMGET', key, 'source', 'revision', 'queued')
if redis.call('EXISTS', key, times) == 0 and redis.call('ZSCORE', schedules, name) == false then
  return resent and 'ok' or {'unknown'}
elseif ARGV[3] ~= '' and known[1] ~= ARGV[3] then
  return {'other'}
elseif (tonumber(ARGV[4]) or math.huge) < (tonumber(known[2]) or 0) then
  return {'older'}
end
redis.call('DEL', key, times)
redis.call('ZREM', schedules, name)
local group = 'schedule:' .. name
if known[3] and redis.call('HEXISTS', groups, group) + redis.call('HEXISTS', later, group) == 0 then
  redis.call('HDEL', limits, group)
end
if redis.call('EXISTS', schedules) == 0 then
  -- An empty queue may have a bell, so that somebody keeps the time of the next firing.
  forget()
end

return 'ok'

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
local name = ARGV[2]
local key = base .. 'schedule:' .. name
local known = redis.call('HMGET', key, 'payload', 'source', 'revision', 'overlap')
if not known[1] and redis.call('ZSCORE', schedules, name) == false then
  return resent and 'ok' or {'unknown'}
elseif ARGV[3] ~= '' and known[2] ~= ARGV[3] then
  return {'other'}
elseif (tonumber(ARGV[4]) or math.huge) < (tonumber(known[3]) or 0) then
  return {'older'}
end
redis.call('DEL', key, base .. 'times:' .. name)
redis.call('ZREM', schedules, name)
local group = 'schedule:' .. name
if known[4] == 'queue' and redis.call('HEXISTS', groups, group) + redis.call('HEXISTS', later, group) == 0 then
  redis.call('HDEL', limits, group)
end

return 'ok'

-- Pause: hand nothing out, of a group or of the whole queue, or a probe every so often.
--
-- A probe is one task that is handed out all the same, to see how it goes.
--
-- Keys   paused, probes, rated, tasks
-- Uses   time, groups, ring
-- ARGV   resent, group ('' is the whole queue), time until the first probe and from one to the next (ms; none, or '',
--        is a pause without probes; where there is one already it stays so)
-- Reply  'ok'
local every = tonumber(ARGV[3])
if every and redis.call('SISMEMBER', paused, ARGV[2]) == 1 and not redis.pcall('HGET', probes, ARGV[2]) then
  -- An operator's, which who tries a service does not undo.
  return 'ok'
end
-- First something that a server without free memory lets pass.
redis.call('SREM', paused, ARGV[2])
if every then
  redis.call('HSET', probes, ARGV[2], string.format('%.0f %.0f', now + every, every))
end
redis.call('SADD', paused, ARGV[2])
if not every and redis.pcall('HDEL', probes, ARGV[2]) == 1 then
  redis.call('ZREM', rated, ARGV[2])
elseif every and ARGV[2] ~= '' then
  book().meet(ARGV[2])
end
settle()
if every and redis.call('EXISTS', tasks) == 1 then
  -- Those who wait have another time to keep.
  ring()
end

return 'ok'

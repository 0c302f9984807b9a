-- Pause: hand nothing out, of a group or of the whole queue, or a probe every so often.
--
-- A probe is one task that is handed out all the same, to see how it goes.
--
-- ARGV   resent, group ('' is the whole queue), time until the first probe and from one to the next (ms; none, or '',
--        is a pause without probes; if the group has one without, it stays so), '1' if the group may have come to another
--        shard
-- Reply  'ok'
--@ Keys paused, probes, rated, tasks
--@ Uses time (now, stamp, fraction), groups (book, settle), ring
if ARGV[4] == '1' and ARGV[2] ~= '' then
  --@ Uses refuse
  local error = refuse(ARGV[2])
  if error then
    return error
  end
end
local every = tonumber(ARGV[3])
if every and redis.call('SISMEMBER', paused, ARGV[2]) == 1 and not redis.pcall('HGET', probes, ARGV[2]) then
  -- The pause has no probes, so an operator set it.  A circuit breaker's pause with probes must not replace it.
  return 'ok'
end
-- See Memory.
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
  -- Consumers that wait at the bell have another time to keep: that of the first probe.
  ring()
end

return 'ok'

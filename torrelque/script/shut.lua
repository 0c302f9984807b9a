-- Shut: hand out nothing of any group until the queue is opened, which it is once in its life.
--
-- ARGV   resent
-- Reply  'ok'
--@ Keys growth, paused
if redis.call('HSETNX', growth, 'shut', '1') == 1 then
  -- No group can have this name, which is no text.
  redis.call('SADD', paused, '\255')
end

return 'ok'

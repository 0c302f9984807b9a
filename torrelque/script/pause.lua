-- Pause: hand nothing out, of a group or of the whole queue.
--
-- Keys   paused
-- ARGV   resent, group ('' is the whole queue)
-- Reply  'ok'
redis.call('SADD', paused, ARGV[2])

return 'ok'

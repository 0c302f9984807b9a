-- Resume: hand tasks out again, of a group or of the queue.
--
-- Keys   paused, probes, rated, tasks
-- Uses   groups, ring
-- ARGV   resent, group ('' is the whole queue, but for groups that are paused themselves)
-- Reply  'ok'
redis.call('SREM', paused, ARGV[2])
if redis.pcall('HDEL', probes, ARGV[2]) == 1 then
  redis.call('ZREM', rated, ARGV[2])
end
if ARGV[2] ~= '' then
  book().meet(ARGV[2])
end
if settle() or ARGV[2] == '' and redis.call('EXISTS', tasks) == 1 then
  ring()
end

return 'ok'

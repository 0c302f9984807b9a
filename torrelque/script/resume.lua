-- Resume: hand tasks out again, of a group or of the queue.
--
-- ARGV   resent, group ('' is the whole queue, but for groups that are paused themselves), '1' ends a pause with probes
--        only ('', or none, ends any), '1' if the group may have come to another shard
-- Reply  'ok' when it is not paused any more, else a list with one of these:
--        'ok'       it is not paused any more
--        'paused'   it is, by a pause without probes, and stays so
--@ Keys paused, probes, rated, tasks
--@ Uses groups (book, settle), ring
if ARGV[4] == '1' and ARGV[2] ~= '' then
  --@ Uses refuse
  local error = refuse(ARGV[2])
  if error then
    return error
  end
end
if ARGV[3] == '1' and redis.call('SISMEMBER', paused, ARGV[2]) == 1 and
    redis.pcall('HEXISTS', probes, ARGV[2]) ~= 1 then
  -- The pause has no probes, so an operator set it.  A circuit breaker whose probe succeeded must not end it.
  return {'paused'}
end
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

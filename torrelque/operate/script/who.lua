-- What some tasks do that may hold a slot of their group.
--
-- ARGV   bytes of a payload at the most
--        per task: id
-- Reply  server time (ms), then one of these per task, in their order:
--        status, length of the lease (ms), time of the last claim (ms), group, error, end of its lease, when it is due,
--        payload; each nil where it is not there
for i = 2, #ARGV do
  local id = ARGV[i]
  local known = read_raw('HMGET', state .. id, 'status', 'timeout', 'last_dequeue_time', 'group', 'error')
  if known.err then
    known = {false, false, false, false, false}
  end
  local size = look('HSTRLEN', 'tasks', id)
  known[6], known[7] = look('ZSCORE', 'working', id) or false, look('ZSCORE', 'delayed', id) or false
  known[8] = size and size <= tonumber(ARGV[1]) and look('HGET', 'tasks', id) or false
  ARGV[i] = known
end
ARGV[1] = now
return ARGV

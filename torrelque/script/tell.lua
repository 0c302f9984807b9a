-- Deaths that nobody saw: hand some out to be told of.
--
-- They come in the order in which they are due.  A death is handed out again after a while, unless `told` says that
-- somebody was told of it.
--
-- ARGV   resent, tasks at the most, in how many ms they are handed out again, bytes at the most
-- Reply  'ok', then by turns id, attempt, time of its claim, payload, error, group of each task; all but the id may be
--        nil
--@ Keys untold
if redis.call('EXISTS', untold) == 0 then
  return {'ok'}
end

--@ Keys dead, tasks
--@ Uses time (now, stamp, fraction)
local max_bytes, again = tonumber(ARGV[4]), now + ARGV[3]
local reply, due, given, bytes = {'ok'}, {}, {}, 0

for _, id in ipairs(redis.call('ZRANGEBYSCORE', untold, '-inf', stamp, 'LIMIT', 0, ARGV[2])) do
  if bytes >= max_bytes then
    break
  end
  due[#due + 1] = id
  -- A task that is not dead any more was brought back or cancelled by a client that does not know this key: drop its
  -- note.
  if redis.call('ZSCORE', dead, id) then
    local known = redis.pcall('HMGET', state .. id, 'dequeue_count', 'last_dequeue_time', 'error', 'group')
    local payload, n = redis.call('HGET', tasks, id), #reply
    reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = id, known[1] or false, known[2] or false, payload
    reply[n + 5], reply[n + 6] = known[3] or false, known[4] or false
    given[#given + 1], given[#given + 2] = again, id
    bytes = bytes + (payload and #payload or 0)
  end
end

-- See Memory: all are taken out first, and some put back.
if #due > 0 then
  redis.call('ZREM', untold, unpack(due))
end
if #given > 0 then
  redis.call('ZADD', untold, unpack(given))
end

return reply

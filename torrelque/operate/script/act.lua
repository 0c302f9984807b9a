-- Acts: put one on record, the newest first.  It is the only script of this layer that writes, and it is sent by `acts`.
--
-- ARGV   id, its beginning as JSON up to the time, its rest behind the time, acts that are kept, s that they are kept
-- Reply  server time (s)
--
-- A call that is sent again, because its reply was lost, finds its own act by the id and writes none.
local acts = string.sub(KEYS[1], 1, -8) .. 'acts'
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])

for _, act in ipairs(redis.call('LRANGE', acts, 0, 9)) do
  if string.find(act, ARGV[1], 1, true) then
    return now
  end
end

redis.call('LPUSH', acts, ARGV[2] .. now .. ARGV[3])
redis.call('LTRIM', acts, 0, ARGV[4] - 1)
redis.call('EXPIRE', acts, ARGV[5])

return now

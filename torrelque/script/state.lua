-- States: read those of some tasks, for whoever watches them.
--
-- ARGV   resent, bytes at the most, number of fields, their names
--        per task: id
-- Reply  'ok', then one of these per task, in their order; fewer when they would be too many bytes, but one at least:
--        list of the values of the fields; a task that the queue does not know has none of them
--        'broken'   the key of its state holds something else
local most, last = tonumber(ARGV[2]), 3 + ARGV[3]
local fields, bytes, reply = {unpack(ARGV, 4, last)}, 0, {'ok'}

for i = last + 1, #ARGV do
  local known = redis.pcall('HMGET', state .. ARGV[i], unpack(fields))
  if known.err then
    known = 'broken'
  else
    for k = 1, #fields do
      bytes = bytes + (known[k] and #known[k] or 0)
    end
  end
  if bytes > most and #reply > 1 then
    break
  end
  reply[#reply + 1] = known
end

return reply

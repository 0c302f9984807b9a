-- States: read those of some tasks, for whoever watches them.
--
-- ARGV   resent, bytes at the most, number of fields, their names
--        per task: id
--        `due_time` is no field of a state: it is asked for behind `status`, which is the first, and is then the score
--        of a task that is delayed
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
    if known[1] == DELAYED and fields[1] == 'status' then
      --@ Keys delayed
      for k, field in ipairs(fields) do
        if field == 'due_time' then
          local due = redis.pcall('ZSCORE', delayed, ARGV[i])
          known[k] = type(due) == 'string' and due
        end
      end
    end
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

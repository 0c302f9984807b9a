-- Schedules: read some of them, each with its next instants.
--
-- ARGV   resent, instants of each at the most, names
-- Reply  'ok', then for each that is there a list of its name, its score in `schedules`, how many instants are known,
--        the last one, a list of the first ones, and the fields of its hash by turns with their values; of one whose keys
--        hold something else a list of its name
--@ Keys schedules
local reply = {'ok'}
for k = 3, #ARGV do
  local name = ARGV[k]
  local times, score = base .. 'times:' .. name, redis.call('ZSCORE', schedules, name)
  local fields, first = redis.pcall('HGETALL', base .. 'schedule:' .. name), redis.pcall('LRANGE', times, 0, ARGV[2] - 1)
  if fields.err or first.err then
    reply[#reply + 1] = {name}
  elseif fields[1] then
    reply[#reply + 1] = {name, score or '+inf', redis.call('LLEN', times), redis.call('LINDEX', times, -1) or '',
      first, fields}
  end
end

return reply

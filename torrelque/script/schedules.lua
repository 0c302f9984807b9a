-- Schedules: read some of them, each with its next instants.
--
-- ARGV   resent, instants of each at the most, names
-- Reply  'ok', then for each that is there a list of its name, its score in `schedules`, how many instants are known,
--        the last one, a list of the first ones, and the fields of its hash by turns with their values
--@ Keys schedules
local reply = {'ok'}
for k = 3, #ARGV do
  local name = ARGV[k]
  local times, score = base .. 'times:' .. name, redis.call('ZSCORE', schedules, name)
  local fields = redis.call('HGETALL', base .. 'schedule:' .. name)
  if fields[1] then
    reply[#reply + 1] = {name, score or '+inf', redis.call('LLEN', times), redis.call('LINDEX', times, -1) or '',
      redis.call('LRANGE', times, 0, ARGV[2] - 1), fields}
  end
end

return reply

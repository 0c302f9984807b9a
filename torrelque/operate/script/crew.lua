-- Crew: what the hearts of workers tell, some at a time, and what is needed to tell whether a worker is stuck.
--
-- ARGV   how many names to pass over, how many to look at, '1' to read the health (JSON) too
-- Reply  server time (ms), how many names were looked at, how many tasks are ready, whether the queue is paused (1 or 0)
--        for each name: name, time of the last beat (ms), what its key is: 'heart' | 'text' (of another version) | 'broken'
--        | 'none'; of a heart its fields seen, interval, state, slots, busy, lag, claimed, health; of a text the text
local FIELDS = {'seen', 'interval', 'state', 'slots', 'busy', 'lag', 'claimed'}
if ARGV[3] == '1' then
  FIELDS[#FIELDS + 1] = 'health'
end
local from = tonumber(ARGV[1])
local names = look('ZRANGE', 'workers', from, from + ARGV[2] - 1, 'WITHSCORES') or {}
local ready = (look('LLEN', 'pending') or 0) - (look('SCARD', 'holes') or 0) + (look('LLEN', 'turns') or 0) +
  (look('ZCARD', 'priority') or 0)
local reply = {now, #names / 2, math.max(0, ready), look('SISMEMBER', 'paused', '') or 0}
for k = 1, #names, 2 do
  local key, found = base .. 'worker:' .. names[k], nil
  local fields = redis.pcall('HMGET', key, unpack(FIELDS))
  if not fields.err then
    found = {'none'}
    for j = 1, #FIELDS do
      if fields[j] then
        found = {'heart', unpack(fields)}
        break
      end
    end
  else
    local text = redis.pcall('GET', key)
    found = type(text) == 'string' and {'text', text} or {'broken'}
  end
  reply[#reply + 1] = {names[k], names[k + 1], unpack(found)}
end
return reply

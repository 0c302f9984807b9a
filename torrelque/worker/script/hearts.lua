-- Hearts: what workers of a queue have told of themselves, some at a time.  It only reads.
--
-- KEYS   pending, never
-- ARGV   how many names to pass over, how many to look at
-- Reply  server time (ms), how many names were looked at; for each that has a heart: name, health (JSON), when it was seen
--        (ms, nil where another version does not tell: it lives, as long as its key does), interval (ms)
local base = string.sub(KEYS[1], 1, -8)
local time = redis.call('TIME')
local from = tonumber(ARGV[1])
local names = redis.call('ZRANGE', base .. 'workers', from, from + ARGV[2] - 1)
local reply = {time[1] * 1000 + math.floor(time[2] / 1000), #names}
for _, name in ipairs(names) do
  local key, found = base .. 'worker:' .. name, nil
  local heart = redis.pcall('HMGET', key, 'health', 'seen', 'interval')
  if heart.err then
    local text = redis.pcall('GET', key)
    found = type(text) == 'string' and {name, text}
  elseif heart[1] or heart[2] then
    found = {name, heart[1] or '', heart[2] or '0', heart[3] or '0'}
  end
  reply[#reply + 1] = found or nil
end
return reply

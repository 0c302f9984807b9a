-- Beat: a worker lives, or is gone.
--
-- All times are the server's, so that the clocks of the workers do not matter.  The name of another worker is taken away
-- only when its health cannot be read any more, whatever its score says.
--
-- KEYS   workers, health of this one
-- ARGV   its name, its health (JSON; '' is that it is gone), how long that can be read (ms)
-- Reply  'ok'
local names, health = KEYS[1], KEYS[2]
local name, text, life = ARGV[1], ARGV[2], tonumber(ARGV[3])
local prefix = string.sub(health, 1, -1 - #name)

if text == '' then
  redis.call('DEL', health)
  redis.call('ZREM', names, name)
  return 'ok'
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function stay(who, left)
  redis.call('ZADD', names, string.format('%.0f', now + left), who)
end

stay(name, life)
redis.call('SET', health, text, 'PX', life)
for _, other in ipairs(redis.call('ZRANGEBYSCORE', names, '-inf', now, 'LIMIT', 0, 100)) do
  local left = redis.call('PTTL', prefix .. other)
  if left == -2 then
    redis.call('ZREM', names, other)
  else
    stay(other, math.max(left, life))
  end
end
if redis.call('PTTL', names) < life then
  redis.call('PEXPIRE', names, life)
end
return 'ok'

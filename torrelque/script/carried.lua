-- Carried: what was collected has come to other queues, or is to be tried again later.
--
-- ARGV   resent
--        per task: id, number, what it is, stay, '1' if it has arrived ('' is to be tried again)
-- Reply  'ok', ms until there is something to collect (nil is none)
--@ Keys away, outbox, guests
--@ Uses time (now, stamp, fraction), forget
local STAND_IN = {host = true, redrive = true, cancel = true}

for i = 2, #ARGV, 5 do
  local id, number, what, stay, arrived = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4] == '1'
  local stands = STAND_IN[what]
  local key, place = stands and state .. id or base .. 'letter:' .. id, stands and away or outbox
  local known = redis.pcall('HMGET', key, 'number', stands and 'enqueue_time' or 'stay', 'tries',
    stands and 'errand' or 'news')
  if known.err or known[1] ~= number or known[2] ~= stay or not known[4] then
    -- It has changed since, and what it is now was not carried; or somebody else has carried it.
  elseif not arrived then
    redis.call('ZREM', place, '')
    local pause = 1000 * 2 ^ math.min(6, math.max(0, (tonumber(known[3]) or 1) - 1))
    redis.call('ZADD', place, 'XX', string.format('%.0f', now + math.min(60000, pause)), id)
  elseif stands then
    -- See Memory.
    redis.call('HDEL', key, 'errand', 'tries')
    redis.call('HSET', key, 'told_time', stamp)
    redis.call('ZADD', away, 'XX', '+inf', id)
  else
    redis.call('ZREM', outbox, id)
    redis.call('HDEL', key, 'tries')
    if what == 'ended' then
      -- For a minute the id is known, so that a late repetition of what brought the task here is no new one.
      redis.call('PEXPIRE', key, 60000)
      redis.call('HDEL', guests, id)
    end
  end
end
forget()
local first = math.huge
for _, place in ipairs({away, outbox}) do
  first = math.min(first, tonumber(redis.call('ZRANGE', place, 0, 0, 'WITHSCORES')[2]) or math.huge)
end

return {'ok', first < math.huge and math.max(0, first - now)}

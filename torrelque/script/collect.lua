-- Collect: what is to be carried to other queues, of tasks of flows.
--
-- What is given is due again after 15 seconds, unless `carried` says that it has arrived.
--
-- ARGV   resent, how many at the most, bytes of bodies at the most
-- Reply  'ok', then by turns id, number, what it is, name of the other queue ('' is this one), flow, stay, body, options:
--        as `host` takes 'host' | 'redrive' | 'cancel', and `arrive` 'ended' | 'died' | 'revived'
--@ Keys away, outbox, tasks
--@ Uses time (now, stamp, fraction)
local LEASE = 15000
-- A call that was sent twice looks for what its first sending was given, too: all of it may be carried twice.
local due = string.format('%.0f', resent and now + LEASE or now)
local again = string.format('%.0f', now + LEASE)
local reply, bytes, most = {'ok'}, 0, tonumber(ARGV[3])

local function give(id, number, what, queue, flow, stay, body, options)
  bytes = bytes + #body
  for _, word in ipairs({id, number, what, queue, flow, stay, body, options}) do
    reply[#reply + 1] = word
  end
end

local function stand_in(id)
  local known = redis.pcall('HMGET', state .. id, 'queue', 'errand', 'number', 'flow', 'enqueue_time', 'timeout',
    'max_attempts', 'group', 'priority', 'heard')
  if known.err or not (known[1] and known[2] and known[3] and known[4]) then
    redis.call('ZREM', away, id)
    return
  end
  redis.call('ZADD', away, again, id)
  redis.call('HINCRBY', state .. id, 'tries', 1)
  local payload = known[2] == 'cancel' and '' or redis.call('HGET', tasks, id)
  if not payload then
    return give(id, known[3], 'ended', '', known[4], known[5], '!f its payload was lost', '')
  end
  give(id, known[3], known[2], known[1], known[4], known[5], payload, cjson.encode({timeout = known[6] or '300000',
    max_attempts = known[7] or nil, group = known[8] or nil, priority = tonumber(known[9] or nil),
    heard = known[10] or '0'}))
end

local function letter(id)
  local key = base .. 'letter:' .. id
  local known = redis.pcall('HMGET', key, 'number', 'news', 'home', 'flow', 'stay', 'value')
  if known.err or not (known[1] and known[2] and known[3] and known[4] and known[5]) then
    redis.call('ZREM', outbox, id)
    return
  end
  redis.call('ZADD', outbox, again, id)
  redis.call('HINCRBY', key, 'tries', 1)
  give(id, known[1], known[2], known[3], known[4], known[5], known[6] or '', '')
end

-- See Memory: nothing is removed by this.
redis.call('ZREM', outbox, '')
for _, place in ipairs({{outbox, letter}, {away, stand_in}}) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', place[1], '-inf', due, 'LIMIT', 0, ARGV[2])) do
    if bytes >= most or #reply > 8 * tonumber(ARGV[2]) then
      break
    end
    place[2](id)
  end
end

return reply

-- Hold a schedule, so that what is due is passed over, or let it go on.
--
-- What was due by then is decided first.
--
-- ARGV   resent, name, '1' holds it ('' lets it go on)
-- Reply  'ok' when that has changed, else a list with one of these:
--        'ok'       it has changed
--        'same'     it was so already
--        'unknown'  there is no such schedule
--@ Uses time (now, stamp, fraction), groups (book, settle), ring, append, fire (fire, fire_due, start, moved)
local name, ready = ARGV[2], {}
local key = base .. 'schedule:' .. name
local known = redis.call('HMGET', key, 'payload', 'paused')
if not known[1] then
  return {'unknown'}
elseif (known[2] and '1' or '') == ARGV[3] then
  return resent and 'ok' or {'same'}
end
local rung = fire(name, ready, 100) > 0
-- See Memory.
redis.call('HDEL', key, 'paused')
if ARGV[3] == '1' then
  redis.call('HSET', key, 'paused', stamp)
end
append(ready)
if settle() or rung then
  ring()
end

return 'ok'

-- Hold a schedule, so that what is due is passed over, or let it go on.
--
-- What was due by then is decided first.
--
-- ARGV   resent, mark, name, '1' holds it ('' lets it go on)
-- Reply  'ok' when that has changed, else a list with one of these:
--        'ok'       it has changed
--        'due'      more of it is due than one call fires, and nothing has changed yet: it is to be sent again
--        'same'     it was so already
--        'unknown'  there is no such schedule
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), ring, append, fire (fire, fire_due, start, moved)
local mark, name, ready = ARGV[2], ARGV[3], {}
local key = base .. 'schedule:' .. name
local known = redis.call('HMGET', key, 'options', 'paused', 'held')
if not known[1] then
  return {'unknown'}
elseif marked(known[3], mark) then
  return 'ok'
elseif (known[2] and '1' or '') == ARGV[4] then
  return {'same'}
end
local fired, _, more = fire(name, ready, 100)
if not more then
  -- See Memory.
  redis.call('HDEL', key, 'paused')
  redis.call('HSET', key, 'held', with_mark(known[3], mark))
  if ARGV[4] == '1' then
    redis.call('HSET', key, 'paused', stamp)
  end
end
append(ready)
local begun = false
if noted[1] then
  --@ Uses flow (flows)
  begun = flows.go(noted)
end
if settle() or begun or fired > 0 then
  ring()
end

return more and {'due'} or 'ok'

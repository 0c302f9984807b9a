-- new -> pending
--
-- Fire a schedule now, or for instants of the past.  Its next instant stays as it is.
--
-- ARGV   resent, mark, name, then instants (ms); without any it fires now, by its overlap
-- Reply  'ok', whether there is such a schedule (1 or 0), ids of the tasks that were enqueued; none where it was now and
--        the task of the firing before is not finished
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), ring, append, enter
--@ Uses fire (fire, fire_due, start, moved)
local mark, name, ready, ids = ARGV[2], ARGV[3], {}, {'ok', 1}
local key = base .. 'schedule:' .. name
local known = redis.call('HMGET', key, 'payload', 'options', 'overlap', 'last_id', 'manual')
if not known[1] then
  return {'ok', 0}
end
-- What the last call has enqueued is remembered by its mark, because a call that is sent again enqueues nothing more.
if known[5] and string.match(known[5], '^%S+') == mark then
  for instant in string.gmatch(string.sub(known[5], #mark + 1), '%S+') do
    ids[#ids + 1] = name .. '@' .. instant
  end
  return ids
end
local given, done = cjson.decode(known[2]), {mark}
if not ARGV[4] then
  local instant = string.format('%.0f.%s', now + moved, string.sub(mark, 1, 8))
  local last = known[4] ~= '' and known[4] or nil
  ids[3] = start(name .. '@' .. instant, known, given, last, ready)
  if ids[3] then
    done[2] = instant
    redis.call('HSET', key, 'last_id', ids[3])
  end
end
for k = 4, #ARGV do
  local instant = string.format('%.0f', ARGV[k] + moved)
  local id = name .. '@' .. instant
  if enter(id, known[1], given, ready) then
    ids[#ids + 1], done[#done + 1] = id, instant
  end
end
if #ids > 2 then
  redis.call('HSET', key, 'manual', table.concat(done, ' '))
  redis.call('HINCRBY', key, 'fired', #ids - 2)
end
append(ready)
local begun = false
if noted[1] then
  --@ Uses flow (flows)
  begun = flows.go(noted)
end
if settle() or begun or #ids > 2 then
  ring()
end

return ids

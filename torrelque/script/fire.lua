-- new -> pending
--
-- Fire a schedule now, or for instants of the past.  Its next instant stays as it is.
--
-- ARGV   resent, mark, name, then instants (ms); without any it fires now, by its overlap
-- Reply  'ok', whether there is such a schedule (1 or 0), ids of the tasks that were enqueued; none where it was now and
--        the task of the firing before is not finished
--@ Uses time (now, stamp, fraction), groups (book, settle), ring, append, enter, fire (fire, fire_due, start)
local mark, name, ready, ids = ARGV[2], ARGV[3], {}, {'ok', 1}
local key = base .. 'schedule:' .. name
local known = redis.call('HMGET', key, 'payload', 'options', 'overlap', 'last_id', 'manual')
if not known[1] then
  return {'ok', 0}
end
local given = cjson.decode(known[2])
if not ARGV[4] then
  local id = string.format('%s@%s.%s', name, stamp, string.sub(mark, 1, 8))
  local before = known[5] and string.match(known[5], '^(%S+) ')
  if resent and before == mark then
    return {'ok', 1, string.sub(known[5], #mark + 2)}
  end
  local last = known[4] ~= '' and known[4] or nil
  ids[3] = start(id, known, given, last, ready)
  if ids[3] then
    redis.call('HSET', key, 'last_id', id, 'manual', mark .. ' ' .. id)
  end
end
for k = 4, #ARGV do
  local id = name .. '@' .. ARGV[k]
  if enter(id, known[1], given, ready) or resent then
    ids[#ids + 1] = id
  end
end
if #ids > 2 then
  redis.call('HINCRBY', key, 'fired', #ids - 2)
end
append(ready)
if settle() or #ids > 2 then
  ring()
end

return ids

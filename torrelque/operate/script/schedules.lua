-- Schedules: some of them, by a cursor of ZSCAN or by their names, each with its next instants.
--
-- ARGV   cursor ('' is: those that are named), about how many, a text with which names begin, instants of each at the
--        most, bytes of a payload at the most, names
-- Reply  time (ms), list of the keys that hold something else, the next cursor ('0' is the end), then for each a list:
--        name, score ('' where it is in no set), how many instants are known, the last one, a list of the first ones,
--        size of the payload (-1 where there is none), payload where it is not longer, fields of its hash by turns with
--        their values
--
-- A name of which nothing is known is not told.  It is in the set and has no hash where somebody has deleted that.
local cursor, names, scores, least = ARGV[1], {}, {}, ARGV[3]
if cursor == '' then
  for k = 6, #ARGV do
    names[#names + 1] = ARGV[k]
    scores[#names] = look('ZSCORE', 'schedules', ARGV[k]) or ''
  end
else
  local found = look('ZSCAN', 'schedules', cursor, 'COUNT', ARGV[2]) or {'0', {}}
  cursor = found[1]
  for k = 1, #found[2], 2 do
    if string.sub(found[2][k], 1, #least) == least then
      names[#names + 1] = found[2][k]
      scores[#names] = found[2][k + 1]
    end
  end
end

local FIELDS = {'options', 'overlap', 'missed', 'grace', 'until', 'every', 'phase', 'spec', 'source', 'revision',
  'paused', 'last', 'last_id', 'fired', 'skipped'}
local reply = {now, broken, cursor}
for k, name in ipairs(names) do
  local key, times = 'schedule:' .. name, 'times:' .. name
  local values = look('HMGET', key, unpack(FIELDS)) or {}
  local size = (look('HEXISTS', key, 'payload') or 0) == 1 and look('HSTRLEN', key, 'payload') or -1
  if scores[k] ~= '' or size >= 0 then
    local fields = {}
    for j = 1, #FIELDS do
      if values[j] then
        fields[#fields + 1], fields[#fields + 2] = FIELDS[j], values[j]
      end
    end
    local payload = size >= 0 and size <= tonumber(ARGV[5]) and look('HGET', key, 'payload')
    reply[#reply + 1] = {name, scores[k], look('LLEN', times) or 0, look('LINDEX', times, -1) or false,
      look('LRANGE', times, 0, ARGV[4] - 1) or {}, size, payload or false, fields}
  end
end

return reply

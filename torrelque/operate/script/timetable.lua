-- Timetable: what becomes of all schedules.  What it costs does not grow with their number.
--
-- Of those that are due, of those that are to come, and of those of which no instant is known, some are looked at, the
-- first ones.  The rest of the due ones count as late: that they are paused is only known of those that were met.
--
-- ARGV   how many are looked at of each kind, names at the most
-- Reply  server time (ms), list of the keys that hold something else, how many there are; how many are late, the first
--        instant (ms) of these, some of their names; how many are dry, some of their names; how many are paused; the
--        first instant (ms) that is to come, whose it is; 1 where all were looked at (0).  Where nothing is, it is nil
local most, some = tonumber(ARGV[1]), tonumber(ARGV[2])
local stamp = string.format('%.0f', now)
local paused, looked_at = 0, 0

-- The names of a range of instants, each with its instant behind it.
local function first(least, last)
  local found = look('ZRANGEBYSCORE', 'schedules', least, last, 'WITHSCORES', 'LIMIT', 0, most) or {}
  looked_at = looked_at + #found / 2
  return found
end

-- What is known of a schedule, where it is sound, and not paused.
local function know(name)
  local known = look('HMGET', 'schedule:' .. name, 'options', 'paused', 'every', 'until', 'spec')
  if not known or not known[1] then
    return nil
  elseif known[2] then
    paused = paused + 1
    return nil
  end
  return known
end

local due, late, since, late_names = first('-inf', stamp), look('ZCOUNT', 'schedules', '-inf', stamp) or 0, nil, {}
for k = 1, #due, 2 do
  if not know(due[k]) then
    late = late - 1
  else
    since = since or due[k + 1]
    if #late_names < some then
      late_names[#late_names + 1] = due[k]
    end
  end
end
if late > 0 and not since then
  since = due[#due]
end

local coming, next, whose = first('(' .. stamp, '(+inf'), nil, nil
for k = 1, #coming, 2 do
  if know(coming[k]) and not next then
    next, whose = coming[k + 1], coming[k]
  end
end

local unset, dry, dry_names = first('+inf', '+inf'), 0, {}
for k = 1, #unset, 2 do
  local known = know(unset[k])
  if known and (known[5] or '') ~= '' and known[5] ~= 'null' and (tonumber(known[3]) or 0) <= 0 then
    local last = tonumber(known[4] or nil)
    if not last or last > now and look('LLEN', 'times:' .. unset[k]) == 0 then
      dry = dry + 1
      if #dry_names < some then
        dry_names[#dry_names + 1] = unset[k]
      end
    end
  end
end

local total = look('ZCARD', 'schedules') or 0
return {now, broken, total, late, since or false, late_names, dry, dry_names, paused, next or false, whose or false,
  looked_at >= total and 1 or 0}

-- Records: what hearts have counted, some records at a time.
--
-- ARGV   'minute' | 'hour' | 'totals', how many records there may be, the last of them being that of now; number of the
--        first one to read ('' is the first of these), how many to look at
-- Reply  server time (ms), number of the first; for each record that is there: its number, its fields and their values
local LENGTH = {minute = 60000, hour = 3600000}
local kind = ARGV[1]
if kind == 'totals' then
  return {now, 0, {0, look('HGETALL', 'totals') or {}}}
end
local last = math.floor(now / LENGTH[kind])
local first = tonumber(ARGV[3]) or last - ARGV[2] + 1
local reply = {now, first}
for number = first, math.min(last, first + ARGV[4] - 1) do
  local fields = look('HGETALL', kind .. string.format(':%.0f', number))
  if fields and #fields > 0 then
    reply[#reply + 1] = {number, fields}
  end
end
return reply

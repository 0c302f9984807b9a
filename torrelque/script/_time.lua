-- The server's time in whole milliseconds, as a number (`now`) and as text (`stamp`), and the microseconds of this
-- second as six digits (`fraction`).
local now, stamp, fraction
do
  local time = redis.call('TIME')
  fraction = string.sub('00000' .. time[2], -6)
  stamp = time[1] .. string.sub(fraction, 1, 3)
  now = stamp + 0
end

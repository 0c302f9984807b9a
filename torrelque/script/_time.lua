-- The server's time in whole milliseconds, as a number and as text, and to the microsecond as text.
local now, stamp, exact, fraction
do
  local time = redis.call('TIME')
  fraction = string.sub('00000' .. time[2], -6)
  stamp = time[1] .. string.sub(fraction, 1, 3)
  exact = stamp .. '.' .. string.sub(fraction, 4)
  now = tonumber(stamp)
end

-- The server's time in whole milliseconds, as a number and as text, and to the microsecond as text.
local time = redis.call('TIME')
local fraction = string.sub('00000' .. time[2], -6)
local stamp = time[1] .. string.sub(fraction, 1, 3)
local exact = stamp .. '.' .. string.sub(fraction, 4)
local now = tonumber(stamp)

-- Decode the limits of a group from their JSON: slots at the most, and the rate as {starts, ms}, false for none.
--
-- Limits may have been written by hand.  A member that is absent or cannot be read is as given, which is the default.
local function decode(text, limit, rate)
  local fine, value = pcall(cjson.decode, text or '')
  if not fine or type(value) ~= 'table' then
    return limit, rate
  end
  if type(value.concurrency) == 'number' then
    -- So many are popped at once, of which the server takes no half.
    limit = value.concurrency > 0 and math.max(1, math.floor(value.concurrency)) or math.huge
  end
  if type(value.rate) == 'table' then
    local starts, period = tonumber(value.rate[1]) or 0, tonumber(value.rate[2]) or 0
    rate = starts >= 1 and starts < 2 ^ 53 and period > 0 and period <= 1e13 and {starts, period} or rate
  elseif value.rate == 0 then
    rate = false
  end
  return limit, rate
end

-- Decode limits as they are written, by hand perhaps; what cannot be read, and who has none, is by default.
local function decode(text, most, pace)
  local fine, value = pcall(cjson.decode, text or '')
  if not fine or type(value) ~= 'table' then
    return most, pace
  end
  if type(value.concurrency) == 'number' then
    most = value.concurrency > 0 and value.concurrency or math.huge
  end
  if type(value.rate) == 'table' then
    local starts, period = tonumber(value.rate[1]) or 0, tonumber(value.rate[2]) or 0
    pace = starts >= 1 and starts < 2 ^ 53 and period > 0 and period <= 1e13 and {starts, period} or pace
  elseif value.rate == 0 then
    pace = false
  end
  return most, pace
end

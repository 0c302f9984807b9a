-- Late: whether a group waits in `rated` for more than a second longer than its token takes, or its next probe, because
-- the clock went back or because its rate was changed.  If one does, the caller makes all groups there due (scores of
-- 0), so that sweeps look at each anew.
--
-- Only a few are looked at, at both ends of `rated`: the groups that wait longest are last, but behind them may be some
-- whose rate is slow.
--@ Keys rated, limits
--@ Uses time (now, stamp, fraction), probe (probe_of, next_probe), decode
local function late()
  local items = redis.call('ZRANGE', rated, -5, -1, 'WITHSCORES')
  for _, item in ipairs(#items == 10 and redis.call('ZRANGE', rated, 0, 4, 'WITHSCORES') or {}) do
    items[#items + 1] = item
  end
  local _, default = decode(redis.pcall('HGET', limits, ''), 0, false)
  for j = 1, #items, 2 do
    local _, rate = decode(redis.pcall('HGET', limits, items[j]), 0, default)
    local _, every = probe_of(items[j])
    if items[j + 1] - now > math.max(rate and math.ceil(rate[2] / rate[1]) or 0, every or 0) + 1000 then
      return true
    end
  end
  return false
end

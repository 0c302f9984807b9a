-- Coming: when the next schedule fires or a flow is given up; now, where there is work for `spread`.
--
-- That instant (nil where there is none, '+inf' where it is not known), and how many of these keys are there.
--@ Keys schedules, waiting, spread
local function next_coming()
  local firing = tonumber(redis.call('ZRANGE', schedules, 0, 0, 'WITHSCORES')[2])
  local given_up = tonumber(redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')[2])
  local work = redis.call('EXISTS', spread)
  local first = math.min(firing or math.huge, given_up or math.huge, work == 1 and now or math.huge)
  return (firing or given_up or work == 1) and first or nil, (firing and 1 or 0) + (given_up and 1 or 0) + work
end

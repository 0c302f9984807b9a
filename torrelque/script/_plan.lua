-- Plan a schedule: note when it fires next, '+inf' where no instant is known or it is over.
--
-- `stays` is whether a schedule that fires each so many ms keeps the instant that it has.  Whether it fires before
-- consumers end the block (ms) in which they listen to the bell, so that they must be rung.
--@ Keys schedules
local function plan(name, stays, block)
  local key = base .. 'schedule:' .. name
  local known = redis.call('HMGET', key, 'every', 'phase', 'until', 'last')
  local every, following = tonumber(known[1]), nil
  if not every then
    following = tonumber(redis.call('LINDEX', base .. 'times:' .. name, 0))
  elseif stays and redis.call('ZSCORE', schedules, name) then
    return false
  else
    local phase, behind = tonumber(known[2]) or 0, math.max(now, tonumber(known[4]) or 0)
    following = phase + (math.floor((behind - phase) / every) + 1) * every
  end
  local fires = following and following <= (tonumber(known[3]) or math.huge)
  redis.call('ZADD', schedules, fires and string.format('%.0f', following) or '+inf', name)
  return fires and following - now <= block
end

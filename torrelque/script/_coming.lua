-- Coming: when the next schedule fires, a flow is given up, or another queue is to be told of a task of a flow; now, where
-- there is work for `spread`.
--
-- That instant: nil where there is none, '+inf' where it is not known.  Without a flow in `waiting` there may be something
-- in `spread`, but nothing that is to be done.
--@ Keys schedules, waiting, spread, outbox
local function next_coming()
  local firing = tonumber(redis.call('ZRANGE', schedules, 0, 0, 'WITHSCORES')[2])
  local given_up = tonumber(redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')[2])
  local due = given_up and redis.call('EXISTS', spread) == 1 and now
  -- Without a flow in `waiting`, nothing of this queue is away.
  local away = given_up and tonumber(redis.call('ZRANGE', base .. 'away', 0, 0, 'WITHSCORES')[2])
  local letter = tonumber(redis.call('ZRANGE', outbox, 0, 0, 'WITHSCORES')[2])
  local first = math.min(firing or math.huge, given_up or math.huge, due or math.huge, away or math.huge,
    letter or math.huge)
  return (firing or given_up or letter) and first
end

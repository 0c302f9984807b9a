-- Tend the bell after a claim, or when a consumer leaves: somebody must know of the work that is left, and keep the
-- time.
--
-- `more` says that work is left, `staying` that the caller goes on waiting and keeps the time itself; `block` is how
-- long (ms) consumers block at the bell at the most; `rates` is whether groups may be waiting for a token, `written`
-- whether the script has written already, `other` when something else is due (false is nothing): when the queue, which
-- is paused and has work, hands out a task, or when the next schedule fires.  If the clock went back, so that groups
-- wait for longer than they ever have to, all of them are made due.  `next_due` is when the first delayed task is due
-- (nil where there is none), `rung` whether the bell is there (nil where that is not known).  Returns µs until the
-- nearest deadline (false where there is none).
--@ Keys working, rated, bell
local function tend(more, staying, block, rates, written, other, next_due, rung)
  local next_end = redis.call('ZRANGE', working, '0', '0', 'WITHSCORES')[2]
  next_end = next_end and next_end + 0
  local next_rated = rates and tonumber(redis.call('ZRANGE', rated, 0, 0, 'WITHSCORES')[2])
  local back = false
  if next_rated and next_rated - now > 1000 then
    --@ Uses late
    back = late()
    next_rated = back and now or next_rated
  end
  local first = math.min(next_due or math.huge, next_end or math.huge, next_rated or math.huge, other or math.huge)
  local wait = first < math.huge and first - now
  local rings = more or wait and wait <= block and not staying

  if back or rings and not written or not rings and rung ~= false then
    -- See Memory.
    redis.call('DEL', bell)
    rung = false
  end
  if back then
    redis.call('ZUNIONSTORE', rated, 1, rated, 'WEIGHTS', 0)
  end
  if rings and not rung then
    ring(rung)
  end
  return wait and wait * 1000 - string.sub(fraction, 4)
end

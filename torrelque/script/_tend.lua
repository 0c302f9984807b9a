-- Tend the bell after a claim, or when a consumer leaves: somebody must know of the work that is left, and keep the
-- time.
--
-- These are lines among those of whoever uses them, because a function that shares so much would cost a small claim
-- more than what it does.  They find: `micros`, the last three digits of `fraction`; `more`, whether work is left;
-- `staying`, whether the caller goes on waiting and keeps the time itself; `block`, how long (ms) consumers block at
-- the bell at the most; `rates`, whether groups may be waiting for a token; `written`, whether the script has
-- written already; `other`, when something else is due (false is nothing): when the queue, which is paused and has
-- work, hands out a task, or when the next schedule fires; `next_due`, when the first delayed task is due (nil where
-- there is none); `rung`, whether the bell is there (nil where that is not known).  If the clock went back, so that
-- groups wait for longer than they ever have to, all of them are made due. They leave `until_due`, µs until the
-- nearest deadline (false where there is none).
--@ Keys working, rated, bell
local until_due
do
  local next_end = redis.call('ZRANGE', working, '0', '0', 'WITHSCORES')[2]
  local next_rated = rates and tonumber(redis.call('ZRANGE', rated, 0, 0, 'WITHSCORES')[2])
  local back, nearest = false, next_end and next_end + 0 or false
  if next_rated and next_rated - now > 1000 then
    --@ Uses late
    back = late()
    next_rated = back and now or next_rated
  end
  -- As a rule there is nothing but leases.
  if next_due or next_rated or other then
    local never = math.huge
    nearest = math.min(next_due or never, nearest or never, next_rated or never, other or never)
    nearest = nearest < never and nearest
  end
  until_due = nearest and nearest - now
  local rings = more or until_due and until_due <= block and not staying

  if back or rings and not written or not rings and rung ~= false then
    -- See Memory.
    redis.call('DEL', bell)
    rung = false
  end
  if back then
    redis.call('ZUNIONSTORE', rated, 1, rated, 'WEIGHTS', 0)
  end
  if rings and not rung and (rung == false or redis.call('EXISTS', bell) == 0) then
    redis.call('LPUSH', bell, '1')
  end
  until_due = until_due and until_due * 1000 - micros
end

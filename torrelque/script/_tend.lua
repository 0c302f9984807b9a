-- Tend the bell after a claim, or when a consumer leaves: somebody must know of what is left, and keep the time.
--
-- `more` says that work is left, `staying` that the caller goes on waiting and keeps the time itself; `block` is how
-- long (ms) consumers block at the bell at the most; `rates` is whether groups may be waiting for a token, `written`
-- whether the script has written already, `probe` when the queue, which is paused and has work, hands out a task (false
-- where it does not wait for that).  Where groups wait for longer than they ever have to, for the clock went back, all of
-- them are due.  Returns µs until the nearest deadline (false where there is none).
--@ keys delayed, working, rated, bell
local function tend(more, staying, block, rates, written, probe)
  local due = tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2])
  local lease = tonumber(redis.call('ZRANGE', working, 0, 0, 'WITHSCORES')[2])
  local token = rates and tonumber(redis.call('ZRANGE', rated, 0, 0, 'WITHSCORES')[2])
  local back = false
  if token and token - now > 1000 then
    --@ uses late
    back = late()
    token = back and now or token
  end
  local first = math.min(due or math.huge, lease or math.huge, token or math.huge, probe or math.huge)
  local wait = first < math.huge and first - now
  local told = more or wait and wait <= block and not staying

  if back or not (told and written) then
    -- First a write that a server without free memory lets pass.
    redis.call('DEL', bell)
  end
  if back then
    redis.call('ZUNIONSTORE', rated, 1, rated, 'WEIGHTS', 0)
  end
  if told then
    ring()
  end
  return wait and wait * 1000 - tonumber(string.sub(fraction, 4))
end

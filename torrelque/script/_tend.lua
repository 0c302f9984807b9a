-- Tend the bell after a claim, or when a consumer leaves: somebody must know of what is left, and keep the time.
--
-- `staying` says that the caller goes on waiting and keeps the time itself; `block` is how long (ms) consumers block
-- at the bell at the most; `rates` is whether groups may be waiting for a token, `halted` that the queue is paused.
-- Returns ms until the nearest deadline (false where there is none), and whether work is left.
local function tend(staying, block, rates, halted)
  local due = tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2])
  local lease = tonumber(redis.call('ZRANGE', working, 0, 0, 'WITHSCORES')[2])
  local token = rates and tonumber(redis.call('ZRANGE', rated, 0, 0, 'WITHSCORES')[2])
  local first = math.min(due or math.huge, lease or math.huge, token or math.huge)
  local wait = first < math.huge and first - now
  local more = not halted and redis.call('EXISTS', pending, turns, priority) > 0

  -- First a write that a server without free memory lets pass.
  redis.call('DEL', bell)
  if more or wait and wait <= block and not staying then
    ring()
  end
  return wait, more
end

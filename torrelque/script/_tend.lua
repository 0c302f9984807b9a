-- Tend the bell after a claim, or when a consumer leaves: somebody must know of what is left, and keep the time.
--
-- `staying` says that the caller goes on waiting and keeps the time itself; `block` is how long (ms) consumers block
-- at the bell at the most.  Returns ms until the nearest deadline (false where there is none), and whether work is left.
local function tend(staying, block)
  local due = tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2])
  local lease = tonumber(redis.call('ZRANGE', working, 0, 0, 'WITHSCORES')[2])
  if lease and (not due or lease < due) then
    due = lease
  end
  local wait = due and due - now or false
  local more = redis.call('EXISTS', pending) == 1

  -- First a write that a server without free memory lets pass.
  redis.call('DEL', bell)
  if more or wait and wait <= block and not staying then
    ring()
  end
  return wait, more
end

-- Judge: whether the caller may settle a task.
--
-- `known` is the reply of HMGET status, dequeue_count, last_dequeue_time, ...; `token` is 'attempt-time' of the
-- caller's delivery.  A caller without a delivery, an operator, has the token '' and must find the task working, and
-- handed out in this queue.
--
-- 'ok' | 'cancelled' (the holder of a cancelled task) | 'lease_lost' | 'not_working' | 'unknown' | 'broken'
local function judge(known, token)
  local status = known[1]
  if known.err then
    return 'broken'
  elseif not status then
    return 'unknown'
  elseif token == '' then
    return status == WORKING and known[2] and 'ok' or 'not_working'
  elseif not known[2] or known[2] .. '-' .. (known[3] or '') ~= token then
    return 'lease_lost'
  elseif status == WORKING then
    return 'ok'
  elseif status == CANCELLED then
    return 'cancelled'
  end
  return 'not_working'
end

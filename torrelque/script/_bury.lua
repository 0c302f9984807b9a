-- Bury a task that was just taken out of its place: put it among the dead.  An error that the task has already is kept,
-- unless there is a new one.
--
-- A caller that buries a task by its verb knows of the death.  One that has a `default` error buries a task whose
-- attempts are used up, of which perhaps nobody knows: so the death is noted in `untold`.
--@ Keys dead
local function bury(id, why, default)
  redis.call('ZADD', dead, stamp, id)
  redis.call('HSET', state .. id, 'status', DEAD)
  if default then
    --@ Keys untold
    redis.call('ZADD', untold, stamp, id)
  end
  if why ~= '' then
    redis.call('HSET', state .. id, 'error', why)
  elseif default then
    redis.call('HSETNX', state .. id, 'error', default)
  end
end

-- Whether the attempts of a task are used up: those that count have reached `max_attempts`, which is nil, or no number,
-- where it has none.
local function used_up(count, forgiven, max_attempts)
  return max_attempts and (tonumber(count) or 0) - (tonumber(forgiven) or 0) >= (tonumber(max_attempts) or math.huge)
end

-- Put a task, just taken out of its place, among the dead.  An error that it has already is kept unless there is a new.
--
-- Whoever buries a task knows of it, and of one whose attempts are used up, which has a `default` error, perhaps nobody.
--@ keys dead
local function bury(id, why, default)
  redis.call('ZADD', dead, stamp, id)
  redis.call('HSET', state .. id, 'status', DEAD)
  if default then
    --@ keys untold
    redis.call('ZADD', untold, stamp, id)
  end
  if why ~= '' then
    redis.call('HSET', state .. id, 'error', why)
  elseif default then
    redis.call('HSETNX', state .. id, 'error', default)
  end
end

local function used_up(count, forgiven, most)
  return most and (tonumber(count) or 0) - (tonumber(forgiven) or 0) >= tonumber(most)
end

-- Revoke: what becomes of a task that is taken back, by its producer or by its schedule.
--@ Keys tasks, priority, delayed, dead, turns, holes
-- Take a task that is pending out of the place where it waits.
local function take_out(id, group, order)
  if group then
    if book().strike(id, group) and redis.call('LLEN', turns) <= 500 then
      redis.call('LREM', turns, 0, id)
    end
  elseif order then
    redis.call('ZREM', priority, id)
  elseif redis.call('LLEN', pending) <= 500 then
    redis.call('LREM', pending, 0, id)
  else
    redis.call('SADD', holes, id)
  end
end

-- Revoke a task that is not final.  `known` has its status, mark, group, order and dequeue_count.
local function revoke(id, known, mark)
  local from, group = known[1], known[3]
  if from == WORKING then
    -- See Memory.
    redis.call('HDEL', state .. id, 'progress')
  else
    redis.call('HDEL', tasks, id)
    if from == DELAYED then
      redis.call('ZREM', delayed, id)
      if group and known[5] then
        book().free(id, group)
      elseif group then
        book().delay(group, -1)
      end
    elseif from == DEAD then
      --@ Keys untold
      redis.call('ZREM', dead, id)
      redis.call('ZREM', untold, id)
    else
      take_out(id, group, known[4])
    end
    redis.call('HSET', state .. id, 'release_time', stamp)
    redis.call('PEXPIRE', state .. id, 60000)
  end
  redis.call('HSET', state .. id, 'status', CANCELLED, 'mark', with_mark(known[2], mark))
end

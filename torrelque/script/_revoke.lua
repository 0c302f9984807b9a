-- Revoke: what becomes of a task that is taken back, by its producer, by its schedule or with its flow.
--@ Keys tasks, priority, delayed, dead, turns, holes
--@ Uses noted
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

-- Revoke a task that is not final, or a flow, whose tasks are then taken back by `spread`.  `known` has its status, mark,
-- group, order, dequeue_count, flow and total; `how` is that of its end, where it is a task of a flow.
local function revoke(id, known, mark, how)
  local from, group, flow = known[1], known[3], known[6]
  if from == WORKING or known[7] then
    -- See Memory.
    redis.call('HDEL', state .. id, 'progress')
    if from == WORKING and not known[5] then
      -- It was never handed out here: it stands for a task of another queue.
      --@ Uses abroad (send_out, write_letter, guest_of, tell_home)
      send_out(id, 'cancel', stamp)
    end
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
      if flow then
        noted[#noted + 1] = {'revived', id, flow}
      end
    elseif from == WAITING then
      --@ Keys waiting
      redis.call('ZREM', waiting, id)
    else
      take_out(id, group, known[4])
    end
    redis.call('HSET', state .. id, 'release_time', stamp)
    redis.call('PEXPIRE', state .. id, 60000)
    if flow then
      noted[#noted + 1] = {'ended', id, flow, how, '!' .. how .. ' cancelled'}
    end
  end
  if known[7] then
    noted[#noted + 1] = {'cancel', id}
  end
  redis.call('HSET', state .. id, 'status', CANCELLED)
  if mark then
    redis.call('HSET', state .. id, 'mark', with_mark(known[2], mark))
  end
end

-- Clear away a task that was cancelled while it was worked on, once its holder settles it or its lease ends: the
-- payload goes, the slot of its group comes back, its flow is told, and the state says `cancelled` for a minute.
--@ Keys working, tasks
--@ Uses noted
local function clear(id, group, flow)
  if redis.call('ZREM', working, id) == 1 then
    redis.call('HDEL', tasks, id)
    redis.call('HSET', state .. id, 'release_time', stamp)
    redis.call('PEXPIRE', state .. id, 60000)
    if group then
      book().free(id, group)
    end
    if flow then
      noted[#noted + 1] = {'cleared', id, flow}
    end
  end
end

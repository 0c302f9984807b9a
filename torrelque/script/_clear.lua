-- Clear a cancelled task away whose holder let it go; its state says so for a minute.
--@ keys working, tasks
local function clear(id, group)
  if redis.call('ZREM', working, id) == 1 then
    redis.call('HDEL', tasks, id)
    redis.call('HSET', state .. id, 'release_time', stamp)
    redis.call('PEXPIRE', state .. id, 60000)
    if group then
      book().free(id, group)
    end
  end
end

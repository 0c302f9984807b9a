-- Stage: what is known of a task is taken out of this queue and kept for another one, which is to have it.
--
-- A task that is put there twice is known by its id, and struck from the stage after that.
--@ Keys stage, tasks
--@ Uses share (home_of, home_of_group, divided, strayed)
local function to_stage(id, due)
  local item = {redis.call('HGETALL', state .. id), redis.call('HGET', tasks, id) or '', due}
  redis.call('HSET', stage, id, cjson.encode(item))
  redis.call('DEL', state .. id)
  redis.call('HDEL', tasks, id)
end

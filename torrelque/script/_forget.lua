-- Forget the queue itself once its last task is gone: an empty queue is no key at all.
local function forget()
  if redis.call('EXISTS', tasks) == 0 then
    redis.call('DEL', seq, bell)
    if redis.call('EXISTS', holes) == 1 then
      redis.call('UNLINK', pending, holes)
    end
  end
end

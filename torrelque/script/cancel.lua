-- pending | delayed | dead -> cancelled, working -> marked
--
-- Take tasks back.  The holder of a working task is told by its next touch; the id stays with the holder, and the slot
-- with the task, until the holder settles it or the lease ends.  Other tasks give their slot back at once.  A pending
-- id is taken out of a short list; a long one would take too long to search, so the id stays in it as a hole.
--
-- ARGV   resent
--        per task: id, mark, the statuses that it may have, a digit each ('' is any)
-- Reply  'ok' when each task is cancelled, else a list with one of these per task:
--        'ok'        cancelled
--        'final'     it was final already
--        'changed'   its status is another one
--        'unknown'   forgotten, or never enqueued
--        'broken'    the key of its state holds something else
--@ Keys tasks, priority, delayed, dead, turns, holes
--@ Uses time (now, stamp, fraction), groups (book, settle), ring, marks (marked, with_mark), forget
--@ Uses answer (answer, outcomes, refused)

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

local function cancel(id, known, mark)
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

-- The book is to meet all groups before it reads the first, so that it reads them all at once.
for i = 2, #ARGV, 3 do
  local group = redis.pcall('HGET', state .. ARGV[i], 'group')
  if type(group) == 'string' then
    book().meet(group)
  end
end
for i = 2, #ARGV, 3 do
  local id, mark, only = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = redis.pcall('HMGET', state .. id, 'status', 'mark', 'group', 'order', 'dequeue_count')
  local outcome = 'ok'
  if known.err then
    outcome = 'broken'
  elseif not known[1] then
    outcome = 'unknown'
  elseif known[1] == COMPLETED or known[1] == REJECTED or known[1] == CANCELLED then
    outcome = marked(known[2], mark) and 'ok' or 'final'
  elseif only ~= '' and not string.find(only, known[1], 1, true) then
    outcome = 'changed'
  else
    cancel(id, known, mark)
  end
  answer(outcome)
end
if settle() then
  ring()
end
forget()

return refused and outcomes or 'ok'

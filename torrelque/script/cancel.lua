-- waiting | pending | delayed | dead -> cancelled, working -> marked
--
-- Take tasks back.  The holder of a working task is told by its next touch; the id stays with the holder, and the slot
-- with the task, until the holder settles it or the lease ends.  Other tasks give their slot back at once.  A pending
-- id is taken out of a short list; a long one would take too long to search, so the id stays in it as a hole.  A flow is
-- cancelled at once, and its tasks by calls of `spread`, until one of them answers that nothing is left; those that clean
-- up stay, until the flow is cancelled once more.
--
-- ARGV   resent
--        per task: id, mark, the statuses that it may have, a digit each ('' is any)
-- Reply  'ok' when each task is cancelled, else a list with one of these per task:
--        'ok'        cancelled
--        'flow'      cancelled, and its tasks are to be, by `spread`, and other queues to be told (`collect`)
--        'final'     it was final already
--        'changed'   its status is another one
--        'unknown'   forgotten, or never enqueued
--        'broken'    the key of its state holds something else
--@ Uses time (now, stamp, fraction), groups (book, settle), ring, marks (marked, with_mark), forget
--@ Uses noted, revoke (take_out, revoke), answer (answer, outcomes, refused)

-- The book is to meet all groups before it reads the first, so that it reads them all at once.
for i = 2, #ARGV, 3 do
  local group = redis.pcall('HGET', state .. ARGV[i], 'group')
  if type(group) == 'string' then
    book().meet(group)
  end
end
for i = 2, #ARGV, 3 do
  local id, mark, only = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = redis.pcall('HMGET', state .. id, 'status', 'mark', 'group', 'order', 'dequeue_count',
    'flow', 'total')
  local outcome = 'ok'
  if known.err then
    outcome = 'broken'
  elseif not known[1] then
    outcome = 'unknown'
  elseif known[1] == CANCELLED and known[7] and redis.call('EXISTS', base .. 'needs:' .. id) == 1 then
    outcome = 'flow'
    if not marked(known[2], mark) then
      -- See Memory.
      redis.call('HDEL', state .. id, 'progress')
      redis.call('HSET', state .. id, 'mark', with_mark(known[2], mark))
      noted[#noted + 1] = {'cancel', id, true}
    end
  elseif known[1] == COMPLETED or known[1] == REJECTED or known[1] == CANCELLED then
    outcome = marked(known[2], mark) and 'ok' or 'final'
  elseif only ~= '' and not string.find(only, known[1], 1, true) then
    outcome = 'changed'
  else
    revoke(id, known, mark, 'f')
    outcome = (known[7] or known[1] == WORKING and not known[5]) and 'flow' or 'ok'
  end
  answer(outcome)
end
local begun = false
if noted[1] then
  --@ Uses flow (flows)
  begun = flows.go(noted)
end
if settle() or begun then
  ring()
end
forget()
if noted.out then
  ring()
end

return refused and outcomes or 'ok'

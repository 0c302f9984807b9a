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
--@ Uses time (now, stamp, fraction), groups (book, settle), ring, marks (marked, with_mark), forget
--@ Uses revoke (take_out, revoke), answer (answer, outcomes, refused)

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
    revoke(id, known, mark)
  end
  answer(outcome)
end
if settle() then
  ring()
end
forget()

return refused and outcomes or 'ok'

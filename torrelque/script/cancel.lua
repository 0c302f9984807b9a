-- pending | delayed | dead -> cancelled, working -> marked
--
-- Take tasks back.  The holder of a working one is told by its next touch; the id stays with it until it settles the
-- task or its lease ends.  A pending id is taken out of a short list; in a long one it stays as a hole.
--
-- Uses   marks, forget
-- ARGV   resent
--        per task: id, mark
-- Reply  'ok' when each task is cancelled, else a list with one of these per task:
--        'ok'        cancelled
--        'final'     it was final already
--        'unknown'   forgotten, or never enqueued
--        'broken'    the key of its state holds something else
local outcomes, refused = {}, false

local function cancel(id, known, mark)
  local from = known[1]
  if from == WORKING then
    -- First something that a server without free memory lets pass.
    redis.call('HDEL', state .. id, 'progress')
  else
    redis.call('HDEL', tasks, id)
    if from == DELAYED then
      redis.call('ZREM', delayed, id)
    elseif from == DEAD then
      redis.call('ZREM', dead, id)
    elseif redis.call('LLEN', pending) <= 500 then
      redis.call('LREM', pending, 0, id)
    else
      redis.call('SADD', holes, id)
    end
    redis.call('HSET', state .. id, 'release_time', stamp)
    redis.call('PEXPIRE', state .. id, 60000)
  end
  redis.call('HSET', state .. id, 'status', CANCELLED, 'mark', with_mark(known[2], mark))
end

for i = 2, #ARGV, 2 do
  local id, mark = ARGV[i], ARGV[i + 1]
  local known = redis.pcall('HMGET', state .. id, 'status', 'mark')
  local outcome = 'ok'
  if known.err then
    outcome = 'broken'
  elseif not known[1] then
    outcome = 'unknown'
  elseif known[1] == COMPLETED or known[1] == REJECTED or known[1] == CANCELLED then
    outcome = marked(known[2], mark) and 'ok' or 'final'
  else
    cancel(id, known, mark)
  end
  outcomes[#outcomes + 1] = outcome
  refused = refused or outcome ~= 'ok'
end
forget()

return refused and outcomes or 'ok'

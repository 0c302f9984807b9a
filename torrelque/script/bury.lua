-- working -> dead
--
-- Take tasks out of the flow, to be looked at by a person.  That is a failed attempt, with an error or without.
--
-- ARGV   resent, record of a claim whose reply has come ('' is none)
--        per task: id, token ('' is unfenced), mark, error ('' is none), in how many ms its death is to be told of by
--        consumers that tell of deaths which nobody saw ('' is never: whoever buries it knows)
-- Reply  'ok' when each task is buried, else a list with one of these per task:
--        'ok'            buried
--        'cancelled'     the task was cancelled meanwhile; it is cleared away now
--        'lease_lost'    someone else holds or held the task since
--        'not_working'   settled already, or not handed out
--        'unknown'       forgotten, or never enqueued
--        'broken'        the key of its state holds something else
--@ Keys working
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), ring, marks (marked, with_mark), judge, clear
--@ Uses forget, bury (bury, used_up), remember, answer (answer, outcomes, refused)
local cleared = false

if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
for i = 3, #ARGV, 5 do
  local id, mark = ARGV[i], ARGV[i + 2]
  local known = redis.pcall('HMGET', state .. id, 'status', 'dequeue_count', 'last_dequeue_time', 'mark', 'group',
    'flow')
  local outcome = judge(known, ARGV[i + 1])
  if not known.err and marked(known[4], mark) then
    outcome = 'ok'
  elseif outcome == 'ok' then
    redis.call('ZREM', working, id)
    redis.call('HSET', state .. id, 'mark', with_mark(known[4], mark))
    remember(id, ARGV[i + 3])
    bury(id, ARGV[i + 3])
    if ARGV[i + 4] ~= '' then
      --@ Keys untold
      redis.call('ZADD', untold, now + ARGV[i + 4], id)
    end
    if known[5] then
      book().free(id, known[5])
    end
    if known[6] then
      noted[#noted + 1] = {'died', id, known[6]}
    end
  elseif outcome == 'cancelled' then
    clear(id, known[5], known[6])
    cleared = true
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
if cleared then
  forget()
end
if noted.out then
  ring()
end

return refused and outcomes or 'ok'

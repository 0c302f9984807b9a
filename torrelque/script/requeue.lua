-- working -> pending | delayed | dead
--
-- Give tasks back, to be tried again now or after a delay; those whose attempts are used up are dead.  A task of a
-- group keeps its slot while it is delayed, and a task that has an order keeps that.  With an error it is a failed
-- attempt, unless it is forgiven.
--
-- ARGV   resent, record of a claim whose reply has come ('' is none), block (ms)
--        per task: id, token ('' is unfenced), mark, delay (ms, 0 is now), lease from now on (ms, '' is as it was),
--        forgive ('1' does not count the attempt, and goes to the head; ''), error ('' is none)
-- Reply  'ok' when each task is given back, else a list with one of these per task:
--        'ok'            given back
--        'dead'          its attempts are used up
--        'cancelled'     the task was cancelled meanwhile; it is cleared away now
--        'lease_lost'    someone else holds or held the task since
--        'not_working'   settled already, or not handed out
--        'unknown'       forgotten, or never enqueued
--        'broken'        the key of its state holds something else
--@ Keys working, delayed
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), marks (marked, with_mark), judge, clear, forget
--@ Uses bury (bury, used_up), place, append, ring
--@ Uses answer (answer, outcomes, refused)
local ready, rung, cleared = {}, false, false

local function give_back(i, known)
  local id, delay, lease, why = ARGV[i], tonumber(ARGV[i + 3]), ARGV[i + 4], ARGV[i + 6]
  local forgive = ARGV[i + 5] == '1'
  local forgiven = (tonumber(known[5]) or 0) + (forgive and 1 or 0)

  redis.call('ZREM', working, id)
  redis.call('HSET', state .. id, 'mark', with_mark(known[4], ARGV[i + 2]))
  if lease ~= '' then
    redis.call('HSET', state .. id, 'timeout', lease)
  end
  if forgive then
    redis.call('HSET', state .. id, 'forgiven', forgiven)
  elseif why ~= '' then
    --@ Uses remember
    remember(id, why)
  end
  local over = used_up(known[2], forgiven, known[6])
  if known[8] and (over or delay == 0) then
    book().free(id, known[8])
  end
  if over then
    bury(id, why, 'its attempts are used up')
    if known[10] then
      noted[#noted + 1] = {'died', id, known[10]}
    end
    return 'dead'
  end

  if why ~= '' then
    redis.call('HSET', state .. id, 'error', why)
  end
  if delay > 0 then
    redis.call('HSET', state .. id, 'status', DELAYED)
    redis.call('ZADD', delayed, now + delay, id)
    rung = rung or delay <= tonumber(ARGV[3])
  else
    redis.call('HSET', state .. id, 'status', PENDING, 'last_requeue_time', stamp,
      'requeue_count', (tonumber(known[7]) or 0) + 1)
    if forgive and not known[9] then
      append({id}, true)
    else
      place(id, known[8], known[9], ready)
    end
    rung = rung or not known[8]
  end
  return 'ok'
end

if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
for i = 4, #ARGV, 7 do
  local known = redis.pcall('HMGET', state .. ARGV[i], 'status', 'dequeue_count', 'last_dequeue_time', 'mark',
    'forgiven', 'max_attempts', 'requeue_count', 'group', 'order', 'flow')
  local outcome = judge(known, ARGV[i + 1])
  if not known.err and marked(known[4], ARGV[i + 2]) then
    outcome = known[1] == DEAD and 'dead' or 'ok'
  elseif outcome == 'ok' then
    outcome = give_back(i, known)
  elseif outcome == 'cancelled' then
    clear(ARGV[i], known[8], known[10])
    cleared = true
  end
  answer(outcome)
end

append(ready)
local begun = false
if noted[1] then
  --@ Uses flow (flows)
  begun = flows.go(noted)
end
if settle() or rung or begun then
  ring()
end
if cleared then
  forget()
end
if noted.out then
  ring()
end

return refused and outcomes or 'ok'

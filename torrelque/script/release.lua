-- working -> completed | rejected
--
-- Finish tasks: forget them, or keep their final state for a while.
--
-- Uses   groups, ring, judge, clear, forget
-- ARGV   resent, record of a claim whose reply has come ('' is none)
--        per task: id, token ('' is unfenced), keep ('' is forget, else 'status ttl', ttl in ms)
--        and, where it is kept, result ('' is none, else '=' and its bytes)
-- Reply  'ok' when each task is released, else a list with one of these per task:
--        'ok'            released (or it was, when this is a call sent twice)
--        'cancelled'     the task was cancelled meanwhile; it is cleared away now
--        'lease_lost'    someone else holds or held the task since
--        'not_working'   settled already, or not handed out
--        'unknown'       forgotten, or never enqueued
--        'broken'        the key of its state holds something else
-- `seen` has the token by which a task was released in this call: its caller may have an older delivery of it too.
local ids, states, kept, seen = {}, {}, {}, {}
local outcomes, refused = {}, false

if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
local i = 3
while i <= #ARGV do
  local id, token, keep = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = state .. id
  local known = redis.pcall('HMGET', key, 'status', 'dequeue_count', 'last_dequeue_time', 'group')
  local outcome = seen[id] and 'unknown' or judge(known, token)
  if outcome == 'ok' then
    seen[id] = token
    ids[#ids + 1] = id
    if known[4] then
      book().free(id, known[4])
    end
    if keep == '' then
      states[#states + 1] = key
    else
      kept[#kept + 1] = i
    end
  elseif known[1] == CANCELLED and outcome ~= 'lease_lost' and not seen[id] and resent and
      string.byte(keep) == 54 and not redis.call('ZSCORE', working, id) then
    -- Released as cancelled (6) by this very call.
    seen[id] = token
    outcome = 'ok'
  elseif outcome == 'cancelled' then
    clear(id, known[4])
  elseif resent and (not seen[id] or seen[id] ~= token) and
      (outcome == 'unknown' or outcome == 'not_working' and (known[1] == COMPLETED or known[1] == REJECTED)) then
    seen[id] = token
    outcome = 'ok'
  end
  outcomes[#outcomes + 1] = outcome
  refused = refused or outcome ~= 'ok'
  i = i + (keep == '' and 3 or 4)
end

if #ids > 0 then
  redis.call('ZREM', working, unpack(ids))
  redis.call('HDEL', tasks, unpack(ids))
end
if #states > 0 then
  redis.call('DEL', unpack(states))
end
for _, k in ipairs(kept) do
  local key, result = state .. ARGV[k], ARGV[k + 3]
  local status, ttl = string.match(ARGV[k + 2], '^(%d+) (%d+)$')
  redis.call('HSET', key, 'status', status, 'release_time', stamp)
  if result ~= '' then
    redis.call('HSET', key, 'result', string.sub(result, 2))
  end
  redis.call('PEXPIRE', key, ttl)
end
if settle() then
  ring()
end
forget()

return refused and outcomes or 'ok'

-- working -> completed | rejected
--
-- Finish tasks: forget them, or keep their final state for a while.
--
-- ARGV   resent, record of a claim whose reply has come ('' is none)
--        per task: id, token ('' is unfenced; behind it '?' and for how many ms after the claim the caller held the
--        lease at the least, where it is not sure to hold it), keep ('' is forget, else 'status ttl', ttl in ms)
--        and, where it is kept, result ('' is none, else '=' and its bytes)
-- Reply  'ok' when each task is released, else a list with one of these per task:
--        'ok'            released (or it was, when this is a call sent twice by whoever held the lease)
--        'cancelled'     the task was cancelled meanwhile; it is cleared away now
--        'lease_lost'    someone else holds or held the task since
--        'not_working'   settled already, or not handed out
--        'unknown'       forgotten, or never enqueued
--        'broken'        the key of its state holds something else
--@ Keys working, tasks
--@ Uses forget

-- One task, which its caller holds, which has neither a group nor a flow, and which is to be forgotten: most calls are
-- so, and take less without tables.  `seen` is what was read of the first task.
local record, last, seen = ARGV[2], #ARGV, nil
if last == 5 and ARGV[5] == '' then
  local id, token = ARGV[3], ARGV[4]
  local key = state .. id
  seen = redis.pcall('HMGET', key, 'status', 'dequeue_count', 'last_dequeue_time', 'tied')
  -- As `judge` has it.
  local attempt = seen[1] == WORKING and not seen[4] and seen[2]
  if attempt and (token == '' or attempt .. '-' .. (seen[3] or '') == token) and
      redis.call('ZREM', working, id) == 1 then
    redis.call('HDEL', tasks, id)
    if record == '' then
      redis.call('DEL', key)
    else
      redis.call('DEL', key, record)
    end
    forget()
    return 'ok'
  end
end

-- The fast path.  Most other calls are of tasks that their callers hold, and that have no flow.  `kept` has where the
-- arguments of tasks begin whose state is kept; `stopped` what was read of the first task that is another one, and
-- where its arguments begin; `tied` the ids of those that have a group, whose name `holders` knows as their states do.
local ids, states, n, m, kept, at, stopped = {nil}, {nil, nil}, 0, 0, nil, 3, nil
local tied, owners
while at <= last do
  local id, keep = ARGV[at], ARGV[at + 2]
  local key = state .. id
  local known = seen or redis.pcall('HMGET', key, 'status', 'dequeue_count', 'last_dequeue_time', 'tied')
  seen = nil
  -- As `judge` has it; a function that is made costs more than all of this.
  local token, attempt = ARGV[at + 1], known[2]
  local stale = known[1] ~= WORKING or not attempt or token ~= '' and attempt .. '-' .. (known[3] or '') ~= token
  if stale or known[4] then
    if stale or known[4] ~= '1' then
      n, stopped, known.at = 0, known, at
      break
    end
    tied = tied or {}
    tied[#tied + 1] = id
  end
  n = n + 1
  ids[n] = id
  if keep == '' then
    m, at = m + 1, at + 3
    states[m] = key
  else
    kept = kept or {}
    kept[#kept + 1], at = at, at + 4
  end
end
--@ Keys holders
if n > 0 and tied then
  owners = redis.pcall('HMGET', holders, unpack(tied))
  for k = 1, #tied do
    n = owners[k] and n or 0
  end
end
-- An id that is named twice counts once in ZREM's reply: then the rest of the script judges each of them.
if n > 0 and redis.call('ZREM', working, unpack(ids)) == n then
  redis.call('HDEL', tasks, unpack(ids))
  if record ~= '' then
    -- It goes with the states.
    m = m + 1
    states[m] = record
  end
  if m > 0 then
    redis.call('DEL', unpack(states))
  end
  if kept then
    --@ Uses time (now, stamp, fraction), keep (keep_state)
    for _, k in ipairs(kept) do
      keep_state(k)
    end
  end
  if tied then
    local done = false
    do
      --@ Keys groups, limits, paused, later
      --@ Uses write
      -- As a rule nothing limits groups, and nothing waits in them: then slots come back, and there is no need of a book.
      local counts, asked, left = redis.call('HMGET', groups, unpack(owners)), {limits, paused, later}, {}
      for k, name in ipairs(owners) do
        asked[k + 3], left[name] = base .. 'group:' .. name, (left[name] or tonumber(counts[k]) or 0) - 1
      end
      local lone, gone, counted = redis.call('EXISTS', unpack(asked)) == 0, {}, {}
      for name, slots in pairs(left) do
        if slots > 0 then
          counted[#counted + 1], counted[#counted + 2] = name, slots
        else
          lone, gone[#gone + 1] = lone and slots == 0, name
        end
      end
      if lone then
        write('HDEL', holders, tied)
        write('HDEL', groups, gone)
        write('HSET', groups, counted)
        done = true
      end
    end
    if not done then
      --@ Uses groups (book, settle), ring
      for k, id in ipairs(tied) do
        book().free(id, owners[k])
      end
      if settle() and redis.call('EXISTS', tasks) == 1 then
        ring()
      end
    end
  end
  forget()
  return 'ok'
end

if record ~= '' then
  redis.call('DEL', record)
end

--@ Uses judge, noted, groups (book, settle), clear, answer (answer, outcomes, refused)
-- `released` has by which token this call has released a task: its caller may name an older delivery of it, too.
local released = {}

-- Note the end of a task of a flow; whether its state is to be kept as that of others is.  A flow has the results of its
-- tasks itself, once, but for a task that was there before its flow, or has joined it from outside.
local function part(id, known, keep, result)
  local how, value = 'c', result
  if keep ~= '' and string.sub(keep, 1, 1) ~= COMPLETED then
    local why = result == '' and ' ' .. (redis.call('HGET', state .. id, 'error') or 'it was rejected')
    how, value = 'f', '!f' .. (why and string.sub(why, 1, 300) or result)
  end
  noted[#noted + 1] = {'ended', id, known[6], how, value}
  return known[4] == '3'
end

ids, states, kept = {}, {}, {}

at = 3
while at <= last do
  local id, keep = ARGV[at], ARGV[at + 2]
  local key, token, held = state .. id, ARGV[at + 1], ''
  if string.find(token, '?', 1, true) then
    token, held = string.match(token, '^([^?]*)%?(%d*)$')
  end
  local known
  if stopped and stopped.at == at then
    known = stopped
    if known[4] == '2' then
      known[6] = redis.call('HGET', key, 'flow')
    elseif known[4] then
      known[5], known[6] = unpack(redis.call('HMGET', key, 'group', 'flow'))
    end
  else
    known = redis.pcall('HMGET', key, 'status', 'dequeue_count', 'last_dequeue_time', 'tied', 'group', 'flow')
  end
  local outcome = released[id] and 'unknown' or judge(known, token)
  if outcome == 'ok' then
    released[id] = token
    ids[#ids + 1] = id
    if known[5] then
      book().free(id, known[5])
    end
    if known[6] and not part(id, known, keep, keep ~= '' and ARGV[at + 3] or '') then
      keep = ''
    end
    if keep == '' then
      states[#states + 1] = key
    else
      kept[#kept + 1] = at
    end
  elseif known[1] == CANCELLED and outcome ~= 'lease_lost' and not released[id] and resent and
      string.sub(keep, 1, 1) == CANCELLED and not redis.call('ZSCORE', working, id) then
    -- The task was released as cancelled by the first sending of this call, which left a final state and no lease.
    released[id] = token
    outcome = 'ok'
  elseif outcome == 'cancelled' then
    clear(id, known[5], known[6])
  elseif resent and (not released[id] or released[id] ~= token) then
    -- A repetition that does not find its task may be of a call that released it, where its caller held the lease when
    -- the call was made.
    local took = tonumber(string.match(token, '%-(%d+)')) or 0
    if outcome == 'unknown' and (held == '' or now < took + tonumber(held)) or
        outcome == 'not_working' and (known[1] == COMPLETED or known[1] == REJECTED) then
      released[id] = token
      outcome = 'ok'
    end
  end
  answer(outcome)
  at = at + (ARGV[at + 2] == '' and 3 or 4)
end

if #ids > 0 then
  redis.call('ZREM', working, unpack(ids))
  redis.call('HDEL', tasks, unpack(ids))
end
if #states > 0 then
  redis.call('DEL', unpack(states))
end
if kept[1] then
  --@ Uses keep (keep_state)
  for _, k in ipairs(kept) do
    keep_state(k)
  end
end
local begun, filled = false, false
if noted[1] then
  --@ Uses flow (flows)
  begun, filled = flows.go(noted)
end
local rings = settle() or begun
if not filled then
  -- The bell of a queue without tasks goes, but for whoever is to carry something to another one.
  forget()
  rings = rings and redis.call('EXISTS', tasks) == 1
end
if rings or noted.out then
  --@ Uses ring
  ring()
end

return refused and outcomes or 'ok'

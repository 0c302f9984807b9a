-- new -> pending | delayed
--
-- Take tasks in.  Each is judged by itself: one that is refused does not harm the others of the call.
--
-- ARGV   resent, max_tasks ('' is no limit), block (ms)
--        per task: id, payload, options
--        options are the lease (ms) alone, or a JSON object {"timeout": ms, "delay": ms, "max_attempts": n,
--        "mark": text, "group": name, "priority": -100..100} of which only timeout must be there; a mark says that the
--        id is the caller's own
-- Reply  'ok' when each task is in, else a list with one of these per task:
--        'ok'             it is in (or was, when this is a call sent twice)
--        'duplicate', id  as a list: the queue knows the id
--        'full', size     as a list: the queue has that many tasks, dead ones not counted
--        'broken'         the key of its state holds something else
--@ keys tasks
--@ uses time (now, stamp, exact, fraction), ring
local function new(id, status, timeout)
  local key = state .. id
  if redis.call('HSET', key, 'status', status, 'timeout', timeout, 'enqueue_time', stamp) < 3 then
    redis.call('DEL', key)
    redis.call('HSET', key, 'status', status, 'timeout', timeout, 'enqueue_time', stamp)
  end
end

-- Most calls are plain: no options, no limit, not sent before.  They are done here, without what the others need.
local ids, payloads = {}, {}
for i = 4, (resent or ARGV[2] ~= '') and 0 or #ARGV, 3 do
  if string.byte(ARGV[i + 2]) == 123 then
    ids = {}
    break
  end
  local n = #ids
  ids[n + 1], payloads[n + n + 1], payloads[n + n + 2] = ARGV[i], ARGV[i], ARGV[i + 1]
end
if ids[1] and redis.call('HSET', tasks, unpack(payloads)) == #ids then
  for k, id in ipairs(ids) do
    new(id, PENDING, ARGV[3 * k + 3])
  end
  -- No id of ours is enqueued twice, so none has a hole there.
  redis.call('LPUSH', pending, unpack(ids))
  ring()
  return 'ok'
end

--@ keys dead, priority, working, delayed, seq
--@ uses groups (book, settle), marks (marked, with_mark), append
local limit = tonumber(ARGV[2])
local size = limit and redis.call('HLEN', tasks) - redis.call('ZCARD', dead)
local accepted, seen, decoded = {}, {}, {}
payloads = {}
local ready, ranked, waiting, rung, ordered, number = {}, {}, {}, false, false, nil
local outcomes, refused = {}, false

local function known(id, mark)
  local was = redis.pcall('HMGET', state .. id, 'status', 'mark', 'group')
  if was.err then
    return 'broken'
  elseif not was[1] then
    return nil
  elseif mark and marked(was[2], mark) or not mark and resent then
    return 'ok'
  elseif was[1] ~= CANCELLED then
    return {'duplicate', id}
  end
  if size and size - (redis.call('ZSCORE', working, id) and 1 or 0) >= limit then
    return {'full', size}
  end
  -- A cancelled id is free again; where somebody still holds it, his token no longer counts.
  redis.call('DEL', state .. id)
  if redis.call('ZREM', working, id) == 1 then
    redis.call('HDEL', tasks, id)
    size = size and size - 1
    if was[3] then
      book().free(id, was[3])
    end
  end
end

-- A call may come after its own repetition, from a connection that was given up: then its task is there, unless it is
-- final by now and was kept.  That one is enqueued again, whole.
local function lives(id)
  local status = redis.call('HGET', state .. id, 'status')
  if status == COMPLETED or status == REJECTED or status == CANCELLED then
    return redis.call('ZSCORE', working, id)
  end
  return status
end

-- The place of a task in the order of all that have a group or a priority.
local function rank(rank)
  number = number + 2
  return string.format('%.0f', number - rank * 2 ^ 45)
end

local function write(i, given)
  local id, delay = ARGV[i], given.delay
  local key = state .. id
  new(id, delay and DELAYED or PENDING, given.timeout)
  if given.max_attempts then
    redis.call('HSET', key, 'max_attempts', given.max_attempts)
  end
  if given.mark then
    redis.call('HSET', key, 'mark', given.mark)
  end
  local order = (given.group or given.priority) and rank(given.priority or 0)
  if given.group then
    redis.call('HSET', key, 'order', order, 'group', given.group)
  end
  if given.priority then
    redis.call('HSET', key, 'order', order, 'priority', given.priority)
  end
  if delay then
    waiting[#waiting + 1], waiting[#waiting + 2] = now + delay, id
    rung = rung or delay <= tonumber(ARGV[3])
    if given.group then
      book().delay(given.group, 1)
    end
  elseif given.group then
    book().wait(id, given.group, order)
  elseif order then
    ranked[#ranked + 1], ranked[#ranked + 2] = order, id
  else
    ready[#ready + 1] = id
  end
end

for i = 4, #ARGV, 3 do
  local id, options = ARGV[i], ARGV[i + 2]
  local given = decoded[options]
  if not given then
    given = string.byte(options) == 123 and cjson.decode(options) or {timeout = options}
    decoded[options] = given
  end
  local outcome = nil
  if given.mark or resent then
    outcome = seen[id] and {'duplicate', id} or known(id, given.mark)
  end
  if not outcome and size and size >= limit then
    outcome = {'full', size}
  elseif not outcome then
    seen[id] = true
    size = size and size + 1
    accepted[#accepted + 1], accepted[#accepted + 2] = i, given
    payloads[#payloads + 1], payloads[#payloads + 2] = id, ARGV[i + 1]
    ordered = ordered or given.group or given.priority
    outcome = 'ok'
  end
  outcomes[#outcomes + 1] = outcome
  refused = refused or outcome ~= 'ok'
end

if #payloads > 0 then
  -- By twos: the lowest bit says whose turn it is.
  number = ordered and redis.call('INCRBY', seq, #accepted) - #accepted
  local late = redis.call('HSET', tasks, unpack(payloads)) < #payloads / 2
  for k = 1, #accepted, 2 do
    local i, given = accepted[k], accepted[k + 1]
    if not (late and not given.mark and lives(ARGV[i])) then
      write(i, given)
    end
  end
end
if #waiting > 0 then
  redis.call('ZADD', delayed, unpack(waiting))
end
if #ranked > 0 then
  redis.call('ZADD', priority, unpack(ranked))
end
append(ready)
if settle() or rung or #ready > 0 or #ranked > 0 then
  ring()
end

return refused and outcomes or 'ok'

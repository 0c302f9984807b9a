-- new -> pending | delayed
--
-- Take tasks in.  Each is judged by itself: a task that is refused does not harm the others of the call.
--
-- ARGV   resent, max_tasks ('' is no limit), block (ms)
--        per task: id, payload, options
--        options are the lease (ms) alone, or a JSON object {"timeout": ms, "delay": ms, "max_attempts": n,
--        "mark": text, "group": name, "priority": -100..100, "keyed": n} of which only timeout must be there; a mark
--        says that the id is the caller's own; keyed, of a shard alone, among how many of them its caller divides groups
--        and ids
-- Reply  'ok' when each task is in, else a list with one of these per task:
--        'ok'             it is in (or was, when this is a call sent twice)
--        'duplicate', id  as a list: the queue knows the id
--        'full', size     as a list: the queue has that many tasks, dead ones not counted
--        'stale'          its group or id may be of another shard by now, where its caller is to send it
--        'broken'         the key of its state holds something else
--@ Keys tasks, bell
--@ Uses time (now, stamp, fraction)

-- One plain task: no options, no limit, not sent before.  It takes less without tables.
local OBJECT = string.byte('{')
if #ARGV == 6 and not resent and ARGV[2] == '' and string.byte(ARGV[6]) ~= OBJECT then
  local id, timeout = ARGV[4], ARGV[6]
  if redis.call('HSET', tasks, id, ARGV[5]) == 1 then
    local key = state .. id
    if redis.call('HSET', key, 'status', PENDING, 'timeout', timeout, 'enqueue_time', stamp) < 3 then
      -- An older state of the id, which is final.
      redis.call('DEL', key)
      redis.call('HSET', key, 'status', PENDING, 'timeout', timeout, 'enqueue_time', stamp)
    end
    redis.call('LPUSH', pending, id)
    if redis.call('EXISTS', bell) == 0 then
      redis.call('LPUSH', bell, '1')
    end
    return 'ok'
  end
end

--@ Uses ring
-- The fast path.  Most other calls are plain as well, and need little of what the rest do.
-- `owned` has groups by the number of the task, and `leases` what their options say besides, where it is no more; it is
-- nil where the call has none.
local ids, payloads, owned, leases = {nil}, {nil, nil}, nil, nil
for i = 4, (resent or ARGV[2] ~= '') and 0 or #ARGV, 3 do
  local n = #ids
  if string.byte(ARGV[i + 2]) == OBJECT then
    -- Text without a backslash is as it stands there.  To decode it all would cost half as much again, and a table.
    local lease, name = string.match(ARGV[i + 2], '^{"timeout":(%d+),"group":"([^"\\]+)"}$')
    if not name then
      ids, owned = {}, nil
      break
    end
    owned, leases = owned or {}, leases or {}
    owned[n + 1], leases[n + 1] = name, lease
  end
  ids[n + 1], payloads[n + n + 1], payloads[n + n + 2] = ARGV[i], ARGV[i], ARGV[i + 1]
end
if not owned and ids[1] and redis.call('HSET', tasks, unpack(payloads)) == #ids then
  for k, id in ipairs(ids) do
    local key, timeout = state .. id, ARGV[3 * k + 3]
    if redis.call('HSET', key, 'status', PENDING, 'timeout', timeout, 'enqueue_time', stamp) < 3 then
      -- An older state of the id, which is final.
      redis.call('DEL', key)
      redis.call('HSET', key, 'status', PENDING, 'timeout', timeout, 'enqueue_time', stamp)
    end
  end
  -- The ids without a mark are random, and none is enqueued twice: so none has a hole in `pending`.
  redis.call('LPUSH', pending, unpack(ids))
  ring()
  return 'ok'
end

if owned and redis.call('HSET', tasks, unpack(payloads)) == #ids then
  -- The tasks of groups, and what goes with each.
  local comers, owners, orders, rings, done = {}, {}, {}, false, false
  do
    --@ Keys seq, limits, paused, groups, heads, holders, turns
    --@ Uses write
    -- Numbers go up by twos, because the lowest bit of `seq` says whether plain tasks or groups have their turn.
    local order, plain, n = redis.call('INCRBY', seq, 2 * #ids) - 2 * #ids, {}, 0
    for k, id in ipairs(ids) do
      local key, name = state .. id, owned[k]
      if name then
        n, order = n + 1, order + 2
        comers[n], owners[n], orders[n] = id, name, order
        if redis.call('HSET', key, 'status', PENDING, 'timeout', leases[k], 'enqueue_time', stamp, 'order', order, 'group',
            name, 'tied', '1') < 6 then
          redis.call('DEL', key)
          redis.call('HSET', key, 'status', PENDING, 'timeout', leases[k], 'enqueue_time', stamp, 'order', order, 'group',
            name, 'tied', '1')
        end
      else
        plain[#plain + 1] = id
        if redis.call('HSET', key, 'status', PENDING, 'timeout', ARGV[3 * k + 3], 'enqueue_time', stamp) < 3 then
          redis.call('DEL', key)
          redis.call('HSET', key, 'status', PENDING, 'timeout', ARGV[3 * k + 3], 'enqueue_time', stamp)
        end
      end
    end
    write('LPUSH', pending, plain)
    rings = #plain > 0

    -- As a rule nothing limits groups, each is named once, and nothing waits behind a head.  Then a task comes up where its
    -- group has no head, and waits where it has one, and there is no need of a book.
    local counts, asked, seen, several, m = redis.call('HMGET', groups, unpack(owners)), {limits, paused}, {}, false, 2
    for k, name in ipairs(owners) do
      several, seen[name] = several or seen[name], true
      if counts[k] then
        m = m + 1
        asked[m] = base .. 'group:' .. name
      end
    end
    if not several and redis.call('EXISTS', unpack(asked)) == 0 then
      local found, holding, counted, headed, joined = redis.call('HMGET', heads, unpack(owners)), {}, {}, {}, {}
      m = 0
      for k, name in ipairs(owners) do
        local id, j = comers[k], m + m + 1
        if found[k] then
          redis.call('ZADD', base .. 'group:' .. name, orders[k], id)
        else
          m = m + 1
          joined[m], holding[j], holding[j + 1], headed[j], headed[j + 1] = id, id, name, name, id
          counted[j], counted[j + 1] = name, counts[k] and math.max(0, tonumber(counts[k]) or 0) + 1 or 1
        end
      end
      write('HSET', holders, holding)
      write('HSET', groups, counted)
      write('HSET', heads, headed)
      write('LPUSH', turns, joined)
      rings, done = rings or m > 0, true
    end
  end
  if not done then
    --@ Uses groups (book, settle)
    for k, id in ipairs(comers) do
      book().wait(id, owners[k], orders[k])
    end
    rings = settle() or rings
  end
  if rings then
    ring()
  end
  return 'ok'
end

--@ Keys dead, priority, working, delayed, seq
--@ Uses noted, groups (book, settle), marks (marked, with_mark), append, answer (answer, outcomes, refused)
local max_tasks = tonumber(ARGV[2])
local size = max_tasks and redis.call('HLEN', tasks) - redis.call('ZCARD', dead)
-- `accepted` has by turns where the arguments of a task begin and its options, `taken` its id, `decoded` options by
-- text.
local accepted, taken, decoded = {}, {}, {}
payloads = {}
-- Where tasks go: plain ids, order and id by turns, time and id by turns.
local ready, ranked, timed = {}, {}, {}
-- `ordered` is whether any task needs a number of `seq`, `number` the last one given; `fence` among how many shards
-- groups and ids are divided, where this is one of some.
local rung, ordered, number, fence = false, false, nil, nil

-- The outcome of a task whose id may be known already; nil when it is new, or free again.
local function look_up(id, mark, stale)
  local known = redis.pcall('HMGET', state .. id, 'status', 'mark', 'group', 'flow')
  if known.err then
    return 'broken'
  elseif not known[1] then
    return nil
  elseif mark and marked(known[2], mark) or not mark and resent then
    return 'ok'
  elseif known[1] ~= CANCELLED then
    return {'duplicate', id}
  elseif stale then
    return 'stale'
  end
  if size and size - (redis.call('ZSCORE', working, id) and 1 or 0) >= max_tasks then
    return {'full', size}
  end
  -- A cancelled id is free again.  If somebody still holds the cancelled task, its token counts no longer, because the
  -- state that it is compared with is dropped.
  redis.call('DEL', state .. id)
  if redis.call('ZREM', working, id) == 1 then
    redis.call('HDEL', tasks, id)
    size = size and size - 1
    if known[3] then
      book().free(id, known[3])
    end
    if known[4] then
      noted[#noted + 1] = {'failed', id, known[4], 'cancelled'}
    end
  end
end

-- Whether the payload of an id is there because its task is.  A call may arrive after its own repetition, over a
-- connection that was given up: then its task is in the queue already.  If the task is final by now, it is enqueued
-- again, whole.
local function lives(id)
  local status = redis.call('HGET', state .. id, 'status')
  if status == COMPLETED or status == REJECTED or status == CANCELLED then
    return redis.call('ZSCORE', working, id)
  end
  return status
end

-- The place of a task in the order of all that have a group or a priority.
local function order_of(urgency)
  number = number + 2
  return number - urgency * 2 ^ 45
end

local function put(i, given)
  local id, delay = ARGV[i], given.delay
  -- The table has room for all that most tasks with options have, because one that grows is copied.
  local words = {'status', delay and DELAYED or PENDING, 'timeout', given.timeout, 'enqueue_time', stamp, nil, nil, nil,
    nil, nil, nil}
  local n, order = 6, (given.group or given.priority) and order_of(given.priority or 0)
  if given.max_attempts then
    words[7], words[8], n = 'max_attempts', given.max_attempts, 8
  end
  if given.mark then
    words[n + 1], words[n + 2], n = 'mark', given.mark, n + 2
  end
  if order then
    words[n + 1], words[n + 2], n = 'order', order, n + 2
  end
  if given.group then
    words[n + 1], words[n + 2], words[n + 3], words[n + 4], n = 'group', given.group, 'tied', '1', n + 4
  end
  if given.priority then
    words[n + 1], words[n + 2], n = 'priority', given.priority, n + 2
  end
  local key = state .. id
  if redis.call('HSET', key, unpack(words, 1, n)) < n / 2 then
    -- An older state of the id, which is final.
    redis.call('DEL', key)
    redis.call('HSET', key, unpack(words, 1, n))
  end
  if delay then
    timed[#timed + 1], timed[#timed + 2] = now + delay, id
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
    given = string.byte(options) == OBJECT and cjson.decode(options) or {timeout = options}
    decoded[options] = given
  end
  local outcome, stale = nil, false
  if given.keyed then
    fence = fence or tonumber(redis.call('HGET', base .. 'growth', 'keyed')) or 0
    stale = given.keyed < fence
  end
  if given.mark or resent then
    outcome = taken[id] and {'duplicate', id} or look_up(id, given.mark, stale)
  end
  if not outcome and stale then
    outcome = 'stale'
  elseif not outcome and size and size >= max_tasks then
    outcome = {'full', size}
  elseif not outcome then
    taken[id] = true
    size = size and size + 1
    accepted[#accepted + 1], accepted[#accepted + 2] = i, given
    payloads[#payloads + 1], payloads[#payloads + 2] = id, ARGV[i + 1]
    ordered = ordered or given.group or given.priority
    outcome = 'ok'
  end
  answer(outcome)
end

if #payloads > 0 then
  -- Numbers go up by twos, because the lowest bit of `seq` says whether plain tasks or groups have their turn.
  number = ordered and redis.call('INCRBY', seq, #accepted) - #accepted
  local some_there = redis.call('HSET', tasks, unpack(payloads)) < #payloads / 2
  for k = 1, #accepted, 2 do
    local i, given = accepted[k], accepted[k + 1]
    if not (some_there and not given.mark and lives(ARGV[i])) then
      put(i, given)
    end
  end
end
if #timed > 0 then
  redis.call('ZADD', delayed, unpack(timed))
end
if #ranked > 0 then
  redis.call('ZADD', priority, unpack(ranked))
end
append(ready)
-- Flows are told by `spread`, because an id is seldom that of a task of a flow which its holder still has.
for _, note in ipairs(noted) do
  --@ Keys spread
  redis.call('RPUSH', spread, cjson.encode({'', note[3], 'note', note}))
end
if settle() or noted[1] or rung or #ready > 0 or #ranked > 0 then
  ring()
end

return refused and outcomes or 'ok'

-- pending -> working
--
-- Hand tasks out: urgent ones (a priority above 0) first, then by turns heads of groups and plain ones, the others last.
-- An id that says it is not pending, or that belongs elsewhere, is a hole that a cancelled task left, and is skipped.
-- What a claim has given is on record until its reply is acknowledged, so that a claim that is sent twice gives the
-- same.  One claim at a time per consumer.
--
-- ARGV   resent, record of a claim whose reply has come ('' is none), key for the record of this one,
--        tasks wanted, the number of which the consumer stays waiting when it gets fewer, block (ms), bytes at the most
-- Reply  'ok', server time (ms, to the µs), µs until the nearest deadline (0 or less is due, nil is none), whether work is left
--        (1 or 0), list of id and trouble by turns, list of number (from 1; less than 0 for a probe) and group by turns
--        of the tasks that have a group or are probes ('' is no group), then by turns id, payload, attempt, length of
--        the lease (ms)
--        trouble is 'state_lost' (the task is dead now) | 'payload_lost' | 'lost'
--@ keys working, tasks, turns, priority, rated, paused, holes, heads
--@ uses time (now, stamp, exact, fraction), ring, tend
local record, wanted, most = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[7])
-- To the microsecond: an id of the caller's own may be finished, enqueued anew and claimed within one millisecond.
local claimed = exact
local reply = {'ok', claimed, false, 0, {}, {}}
local given, grouped, leases, odd, holed, bytes = {}, reply[6], {}, {}, 0, 0
local tried, opens
local special = redis.call('EXISTS', turns, priority, rated, paused, holes, heads) > 0
local patchy = special and redis.call('EXISTS', holes) == 1
local more, finish = true, nil

-- Whether the bytes allow for another task, and the task is there: 'ok' | 'full' | 'hole'.
local function hand(id, key, known)
  if known[1] ~= PENDING then
    return 'hole'
  end
  -- One by one: read together, a few hundred large payloads would be more than the server has memory for.
  local payload = redis.call('HGET', tasks, id)
  if not payload then
    return 'hole'
  elseif bytes > 0 and bytes + #payload > most then
    bytes = most
    return 'full'
  end
  local attempt = (tonumber(known[3]) or 0) + 1
  redis.call('HSET', key, 'status', WORKING, 'dequeue_count', attempt, 'last_dequeue_time', claimed)
  local n, lease = #leases, tonumber(known[2]) or 300000
  leases[n + 1], leases[n + 2] = now + lease, id
  n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = id, payload, attempt, lease
  given[#given + 1] = id
  bytes = bytes + #payload
  return 'ok'
end

local function take_plain(goal)
  while #given < goal and bytes < most and holed < 200 do
    local count = goal - #given
    local ids = redis.call('RPOP', pending, count) or {}
    for k, id in ipairs(ids) do
      local key = state .. id
      local known = bytes < most and redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count')
      -- An id that has a hole here may be pending again, but elsewhere: in its order.
      local hole = known and patchy and redis.call('SREM', holes, id) == 1
      local outcome = not known and 'full' or hole and 'hole' or hand(id, key, known)
      if outcome == 'full' then
        local rest = {}
        for j = #ids, k, -1 do
          rest[#rest + 1] = ids[j]
        end
        redis.call('RPUSH', pending, unpack(rest))
        return
      elseif outcome == 'hole' then
        holed = holed + 1
        if not hole then
          odd[#odd + 1] = id
        end
      end
    end
    if #ids < count then
      more = special
      return
    end
  end
end

if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
-- Looked for in any case: a call may arrive after its own repetition, from a connection that was given up.
local last = redis.call('GET', record)
if not special and not last then
  take_plain(wanted)
end
if special or last or odd[1] then
  -- What most calls do not need is made only here.
  --@ keys limits, seq
  --@ uses probe (probe_of, next_probe), groups (book, settle), mend
  local troubles = reply[5]
  local halted = special and redis.call('SISMEMBER', paused, '') == 1
  opens = halted and probe_of('')
  local probing = opens and opens <= now

  local function damaged(id, known)
    if not known[1] or known[1] == PENDING then
      troubles[#troubles + 1], troubles[#troubles + 2] = id, mend(id, known)
    end
  end

  if last then
    last = cjson.decode(last)
    reply[2] = last.time
    local probed = {}
    for _, id in ipairs(last.probes or {}) do
      probed[id] = true
    end
    for _, id in ipairs(last.ids) do
      local known = redis.pcall('HMGET', state .. id, 'status', 'dequeue_count', 'last_dequeue_time', 'group', 'timeout')
      local payload = redis.call('HGET', tasks, id)
      if not known.err and known[1] == WORKING and known[3] == last.time and payload then
        given[#given + 1] = id
        if known[4] or probed[id] then
          grouped[#grouped + 1], grouped[#grouped + 2] = probed[id] and -#given or #given, known[4] or ''
        end
        local n = #reply
        reply[n + 1], reply[n + 2], reply[n + 3] = id, payload, tonumber(known[2])
        reply[n + 4] = tonumber(known[5]) or 300000
      end
    end
  elseif special and (probing or not halted) then
    wanted = probing and math.min(1, wanted) or wanted
    local book = book()
    -- Tasks of groups at the most, which take longer, and with limits to look at still longer.
    local few = redis.call('EXISTS', limits, paused) > 0 and 50 or 100

    -- By priority, without a group.
    local function take_ranked(goal)
      local items = goal > #given and bytes < most and redis.call('ZPOPMIN', priority, goal - #given) or {}
      for k = 1, #items, 2 do
        local id, key = items[k], state .. items[k]
        local known = bytes < most and redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count')
        local outcome = known and hand(id, key, known) or 'full'
        if outcome == 'full' then
          redis.call('ZADD', priority, items[k + 1], id)
        elseif outcome == 'hole' then
          damaged(id, known)
        end
      end
    end

    -- One head, or who goes before it by now: its id, and what became of it.
    local function take_head(id, key, known)
      local name, order = known[5], tonumber(known[4]) or 0
      local group = name and known[1] == PENDING and book.meet(name)
      if not group or not book.is_head(group, id) then
        local owner = not name and book.owner(id)
        if owner then
          damaged(id, known)
          book.strike(id, owner)
        end
        return id, 'hole'
      elseif not book.may(group, id, order) then
        return id, 'hole'
      end
      local first = book.better(group, id, order)
      if first then
        id, key = first, state .. first
        known = redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count')
      end
      local outcome = hand(id, key, known)
      if outcome == 'ok' then
        local probe = book.take(group)
        grouped[#grouped + 1], grouped[#grouped + 2] = probe and -#given or #given, name
        if probe then
          tried = tried or {}
          tried[#tried + 1] = id
        end
      elseif outcome == 'hole' then
        damaged(id, known)
        book.strike(id, name)
      end
      return id, outcome
    end

    local function take_heads(goal)
      goal = math.min(goal, #given + few - #grouped / 2)
      while #given < goal and bytes < most and holed < 200 do
        -- The more holes there were, the more there will be.
        local ids, keys, known, outcome = book.pop_heads(goal - #given + holed), {}, {}, nil
        for k, id in ipairs(ids) do
          keys[k] = state .. id
          known[k] = redis.pcall('HMGET', keys[k], 'status', 'timeout', 'dequeue_count', 'order', 'group')
          if known[k][5] and known[k][1] == PENDING then
            book.meet(known[k][5])
          end
        end
        book.read()
        for k, id in ipairs(ids) do
          outcome = #given >= goal and 'full'
          if not outcome then
            ids[k], outcome = take_head(id, keys[k], known[k])
          end
          if outcome == 'full' then
            book.put_back(ids, k)
            return
          elseif outcome == 'hole' then
            holed = holed + 1
          end
        end
        if #ids == 0 then
          return
        end
      end
    end

    -- Plain tasks and groups take turns: the lowest bit of `seq` says whose it is.
    local function take_turns()
      if redis.call('EXISTS', turns) == 0 and redis.call('EXISTS', heads) == 1 then
        -- It was lost (evicted, or deleted by hand), and would keep its groups waiting for ever.
        for j, id in ipairs(redis.call('HSCAN', heads, 0, 'COUNT', 100)[2]) do
          if j % 2 == 0 then
            redis.call('LPUSH', turns, id)
          end
        end
      end
      if redis.call('EXISTS', turns) == 0 then
        return take_plain(wanted)
      elseif redis.call('EXISTS', pending) == 0 then
        return take_heads(wanted)
      end
      local bit = (tonumber(redis.call('GET', seq)) or 0) % 2
      local first, second = take_heads, take_plain
      if bit == 1 then
        first, second = take_plain, take_heads
      end
      local before, goal = #given, math.min(wanted, #given + 200)
      first(before + math.ceil((goal - before) / 2))
      local share = #given - before
      second(goal)
      if share > #given - before - share then
        redis.call('INCRBY', seq, 1 - 2 * bit)
      end
      first(goal)
    end

    take_ranked(math.min(wanted, redis.call('ZCOUNT', priority, '-inf', '(0')))
    take_turns()
    if holed < 200 and #grouped < 2 * few then
      take_ranked(wanted)
    end
    if probing and given[1] then
      opens, probing, tried = next_probe(''), false, given
      grouped[1], grouped[2] = -1, grouped[2] or ''
    end
  end

  for _, id in ipairs(odd) do
    damaged(id, redis.pcall('HMGET', state .. id, 'status'))
  end
  more, finish = true, settle
  opens = not probing and halted and (opens or math.huge)
end
-- Before the groups: should their keys hold something else, what was taken has a lease.
if #leases > 0 then
  redis.call('ZADD', working, unpack(leases))
  redis.call('SET', record, cjson.encode({time = claimed, ids = given, probes = tried}), 'PX', 60000)
end
if finish then
  finish()
end

more = more and redis.call('EXISTS', pending, turns, priority) > 0
-- What is there waits for a probe, or for ever.
opens, more = more and opens, more and not opens
local wait = tend(more, #given < tonumber(ARGV[5]), tonumber(ARGV[6]), special, #leases > 0, opens)
reply[3], reply[4] = wait, more and 1 or 0
return reply

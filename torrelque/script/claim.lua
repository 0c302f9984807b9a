-- pending -> working
--
-- Hand tasks out: urgent ones (a priority above 0) first, then heads of groups and plain tasks by turns, the others
-- last.  An id whose state is not pending, or which belongs elsewhere, is a hole that a cancelled task left, and is
-- skipped.  What a claim has given is on record until its reply is acknowledged, so that a claim that is sent twice
-- gives the same.  One claim at a time per consumer.
--
-- ARGV   resent, record of a claim whose reply has come ('' is none), key for the record of this one,
--        tasks wanted, the number of which the consumer stays waiting when it gets fewer, block (ms), bytes at the most
-- Reply  'ok', server time (ms, to the µs), µs until the nearest deadline (0 or less is due, nil is none), whether work
--        is left (1 or 0), list of id and trouble by turns, list of number (from 1; less than 0 for a probe) and group
--        by turns of the tasks that have a group or are probes ('' is no group), then by turns id, payload, attempt,
--        length of the lease (ms); each of the two lists is nil where it is empty
--        trouble is 'state_lost' (the task is dead now) | 'payload_lost' | 'lost'
--@ Keys working, tasks, turns, priority, rated, paused, holes, heads, schedules, waiting, outbox, delayed, bell
--@ Uses time (now, stamp, fraction)
local record, wanted, block = ARGV[3], ARGV[4], ARGV[6] + 0
-- The time is to the microsecond, because an id of the caller's own may be finished, enqueued anew and claimed within
-- one millisecond, and its token must be another.
local micros = string.sub(fraction, 4)
local claimed = stamp .. '.' .. micros
-- `special` is whether anything but plain tasks may be there, or a pause, `patchy` whether `pending` has holes.  `last` is
-- the record of this very claim: it is looked for in any case, because a call may arrive after its own repetition, over
-- a connection that was given up.  `next_due` is when the first delayed task is due; `coming` when the next schedule
-- fires, or a flow is given up, or now, where there is work for `spread`.  Most queues have nothing of all that, which
-- one command tells.
local special, patchy, last, next_due, coming = false, false, nil, nil, nil
local there = redis.call('EXISTS', record, delayed, turns, priority, rated, paused, holes, heads, schedules, waiting,
  outbox)
if there > 0 then
  next_due = tonumber(redis.call('ZRANGE', delayed, '0', '0', 'WITHSCORES')[2])
  there = there - (next_due and 1 or 0)
end
if there > 0 then
  last = redis.call('GET', record)
  local besides = redis.call('EXISTS', schedules, waiting, outbox)
  if besides > 0 then
    --@ Uses coming (next_coming)
    coming = next_coming()
  end
  special = there - besides - (last and 1 or 0) > 0
  patchy = special and redis.call('EXISTS', holes) == 1
end
if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end

-- One task, of a queue that has only plain ones: without functions, which share what they know, and without most of the
-- tables, such a claim takes five sixths of what it would.
if wanted == '1' and not special and not last then
  local id = redis.call('RPOP', pending)
  local key = id and state .. id
  local known = id and redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count')
  local payload = known and known[1] == PENDING and redis.call('HGET', tasks, id)
  if id and not payload then
    -- A hole, or damaged: found out below.
    redis.call('RPUSH', pending, id)
  else
    -- The table is made with room for a task, because each time that one grows costs as much as a small command.
    local reply, more, rung = {'ok', claimed, false, 0, false, false, nil, nil, nil, nil}, false, nil
    if id then
      --@ Uses hand (nth, held_for)
      redis.call('ZADD', working, now + held_for, id)
      -- An id of letters and digits is JSON as it stands there; to encode it would cost twice as much.
      local text = string.find(id, '^%w+$') and '{"time":"' .. claimed .. '","ids":["' .. id .. '"]}'
      redis.call('SET', record, text or cjson.encode({time = claimed, ids = {id}}), 'PX', '60000')
      local left = redis.call('EXISTS', bell, pending, pending)
      more, rung = left > 1, left % 2 == 1
      reply[7], reply[8], reply[9], reply[10] = id, payload, nth, held_for
    end
    local staying, rates, written, other = ARGV[5] + 0 > (id and 1 or 0), false, id, coming
    --@ Uses tend (until_due)
    reply[3], reply[4] = until_due, more and 1 or 0
    return reply
  end
end

wanted = wanted + 0
local max_bytes, more, finish, rung = ARGV[7] + 0, true, nil, nil
-- Tables are made with room for one task, because each time that one grows costs as much as a small command.
local reply = {'ok', claimed, false, 0, false, false, nil, nil, nil, nil}
-- What was handed out: ids; the lease's end and id by turns; bytes of the payloads.
local given, leases, bytes = {nil}, {nil, nil}, 0
-- Ids of `pending` that could not be handed out, though `holes` does not have them (nil is none); and how many ids were
-- skipped.
local odd, holed = nil, 0
-- Ids that are probes, and when the paused queue lets the next probe through.
local probed, probe_at

-- Hand a task out, if it is pending and the bytes allow for it: 'ok' | 'full' | 'hole'.
local function hand(id, key, known)
  if known[1] ~= PENDING then
    return 'hole'
  end
  -- Payloads are read one by one, because a few hundred large ones together would be more than the server has memory
  -- for.
  local payload = redis.call('HGET', tasks, id)
  if not payload then
    return 'hole'
  elseif bytes > 0 and bytes + #payload > max_bytes then
    bytes = max_bytes
    return 'full'
  end
  --@ Uses hand (nth, held_for)
  local n = #leases
  leases[n + 1], leases[n + 2] = now + held_for, id
  n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = id, payload, nth, held_for
  given[#given + 1] = id
  bytes = bytes + #payload
  return 'ok'
end

-- Take plain tasks until `goal` were given.
local function take_plain(goal)
  while #given < goal and bytes < max_bytes and holed < 200 do
    local count = goal - #given
    local ids = redis.call('RPOP', pending, count) or {}
    for k, id in ipairs(ids) do
      local key = state .. id
      local known = bytes < max_bytes and redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count')
      -- The id of a hole may be pending again, but elsewhere: in its group, or among those with a priority.
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
          odd = odd or {}
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

if not special and not last then
  take_plain(wanted)
end
if special or last or odd then
  -- What most calls do not need is made only here, because functions and tables cost most of a small claim.
  --@ Uses probe (probe_of, next_probe), groups (book, settle), turns (with_turns), noted, mend
  --@ Keys limits, seq
  -- Number and group by turns, of what is handed out.
  local troubles, grouped = {}, {}
  local limited = special and redis.call('EXISTS', limits, paused) > 0
  local stopped = limited and redis.call('SISMEMBER', paused, '') == 1
  probe_at = stopped and probe_of('')
  local probing = probe_at and probe_at <= now

  -- Mend and report a task that is pending, or has no state, or one that says nothing, and could not be handed out: a part
  -- of it was lost.
  local function damaged(id, known)
    if not known[1] or known[1] == PENDING or not string.find(known[1], '^[0-7]$') then
      troubles[#troubles + 1], troubles[#troubles + 2] = id, mend(id, known)
    end
  end

  if last then
    last = cjson.decode(last)
    reply[2] = last.time
    local was_probe = {}
    for _, id in ipairs(last.probes or {}) do
      was_probe[id] = true
    end
    for _, id in ipairs(last.ids) do
      local known = redis.pcall('HMGET', state .. id, 'status', 'dequeue_count', 'last_dequeue_time', 'group',
        'timeout')
      local payload = redis.call('HGET', tasks, id)
      if not known.err and known[1] == WORKING and known[3] == last.time and payload then
        given[#given + 1] = id
        if known[4] or was_probe[id] then
          grouped[#grouped + 1], grouped[#grouped + 2] = was_probe[id] and -#given or #given, known[4] or ''
        end
        local n = #reply
        reply[n + 1], reply[n + 2], reply[n + 3] = id, payload, tonumber(known[2])
        reply[n + 4] = tonumber(known[5]) or 300000
      end
    end
  elseif special and (probing or not stopped) then
    wanted = probing and math.min(1, wanted) or wanted
    -- The book of groups is opened for heads behind which something waits, or which something limits, and for holes.
    local opened
    -- How many tasks of groups at the most: they take longer, and with limits to look at still longer.
    local few = limited and 50 or 100

    -- Take tasks that have a priority and no group, the most urgent first, until `goal` were given.
    local function take_ranked(goal)
      local items = goal > #given and bytes < max_bytes and redis.call('ZPOPMIN', priority, goal - #given) or {}
      for k = 1, #items, 2 do
        local id, key = items[k], state .. items[k]
        local known = bytes < max_bytes and redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count')
        local outcome = known and hand(id, key, known) or 'full'
        if outcome == 'full' then
          redis.call('ZADD', priority, items[k + 1], id)
        elseif outcome == 'hole' then
          damaged(id, known)
        end
      end
    end

    -- Hand out a head, or the task of its group that goes before it by now: its id, and what became of it.
    local function take_head(id, group)
      local key, known, order = state .. id, nil, nil
      known = redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count', 'order', 'group')
      local owner = not known[5] and opened.owner(id)
      if owner then
        damaged(id, known)
        opened.strike(id, owner)
        return id, 'hole'
      end
      if not known[5] or not group or not opened.is_head(group, id) then
        return id, 'hole'
      elseif known[1] ~= PENDING then
        -- It waits by its place, and not by its state; it must not hold up the others of its group.
        damaged(id, known)
        opened.strike(id, opened.names[group])
        return id, 'hole'
      end
      order = tonumber(known[4]) or 0
      -- Of what is no number, nothing is true but this, and a sorted set does not take it.
      order = order == order and order or 0
      if not opened.may(group, id, order) then
        return id, 'hole'
      end
      local first = opened.better(group, id, order)
      if first then
        id, key = first, state .. first
        known = redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count')
      end
      local outcome = hand(id, key, known)
      if outcome == 'ok' then
        local n, probe = #grouped, opened.take(group)
        grouped[n + 1], grouped[n + 2] = probe and -#given or #given, opened.names[group]
        if probe then
          probed = probed or {}
          probed[#probed + 1] = id
        end
      elseif outcome == 'hole' then
        damaged(id, known)
        opened.strike(id, opened.names[group])
      end
      return id, outcome
    end

    -- Hand out heads, whose groups are `owners`, without a book where nothing waits behind any of them: how many were
    -- looked at; nil where a book is needed, and nothing was done.
    local function take_alone(ids, owners)
      local asked = {}
      for k = 1, #ids do
        if not owners[k] then
          return nil
        end
        asked[k] = base .. 'group:' .. owners[k]
      end
      if redis.call('EXISTS', unpack(asked)) > 0 then
        return nil
      end
      -- One that is pending and holds a slot is the head of its group.
      local spent, n, count, outcome = {}, 0, #ids, nil
      for k, id in ipairs(ids) do
        local key = state .. id
        local known = redis.pcall('HMGET', key, 'status', 'timeout', 'dequeue_count')
        outcome = hand(id, key, known)
        if outcome == 'ok' then
          local m = #grouped
          n = n + 1
          spent[n], grouped[m + 1], grouped[m + 2] = owners[k], #given, owners[k]
        elseif outcome == 'full' then
          count = k - 1
          break
        else
          holed = holed + 1
          -- An id that is in `turns` twice was taken just now, and is a hole the second time.
          local again = false
          for j = 1, n do
            again = again or spent[j] == owners[k]
          end
          if not again then
            damaged(id, known)
            opened = opened or book(with_turns)
            opened.strike(id, owners[k])
          end
        end
      end
      if n > 0 then
        redis.call('HDEL', heads, unpack(spent))
      end
      return count
    end

    -- Put ids back, from `first` on, to where they were popped from.
    local function put_back(popped, first)
      local rest = {}
      for j = #popped, first, -1 do
        rest[#rest + 1] = popped[j]
      end
      redis.call('RPUSH', turns, unpack(rest))
    end

    -- Take heads of groups until `goal` were given.
    local function take_heads(goal)
      goal = math.min(goal, #given + few - #grouped / 2)
      while #given < goal and bytes < max_bytes and holed < 200 do
        -- As many holes as there were may come again, so ask for as many ids more.
        local count, ids, owners, done, outcome = goal - #given + holed, nil, nil, nil, nil
        if not opened then
          ids = redis.call('RPOP', turns, count) or {}
          owners = ids[1] and redis.call('HMGET', holders, unpack(ids))
          done = ids[1] and not limited and #ids <= goal - #given and take_alone(ids, owners)
        end
        if done then
          if done < #ids then
            put_back(ids, done + 1)
          end
          if done < count then
            return
          end
        else
          opened = opened or book(with_turns)
          ids = opened.pop_heads(count, ids)
          owners = ids[1] and opened.meet_all(ids, owners)
          for k, id in ipairs(ids) do
            outcome = #given >= goal and 'full'
            if not outcome then
              ids[k], outcome = take_head(id, owners[k])
            end
            if outcome == 'full' then
              opened.put_back(ids, k)
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
    end

    -- A key that is named twice counts twice.
    local found = redis.call('EXISTS', turns, priority, priority, pending, pending, pending, pending)
    local any_turns, any_ranked, any_plain = found % 2 == 1, found % 4 > 1, found > 3

    -- Plain tasks and groups take turns: the lowest bit of `seq` says whose it is.
    local function take_turns()
      if not any_turns and redis.call('EXISTS', heads) == 1 then
        -- `turns` was lost (evicted, or deleted by hand), and its groups would wait for ever: push their heads anew.
        for j, id in ipairs(redis.call('HSCAN', heads, 0, 'COUNT', 100)[2]) do
          if j % 2 == 0 then
            redis.call('LPUSH', turns, id)
            any_turns = true
          end
        end
      end
      if not any_turns then
        return take_plain(wanted)
      elseif not any_plain then
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

    if any_ranked then
      take_ranked(math.min(wanted, redis.call('ZCOUNT', priority, '-inf', '(0')))
    end
    take_turns()
    if any_ranked and holed < 200 and #grouped < 2 * few then
      take_ranked(wanted)
    end
    if probing and given[1] then
      probe_at, probing, probed = next_probe(''), false, given
      grouped[1], grouped[2] = -1, grouped[2] or ''
    end
  end

  for _, id in ipairs(odd or {}) do
    damaged(id, redis.pcall('HMGET', state .. id, 'status'))
  end
  more, finish = true, settle
  -- Flows are told of what was damaged by `spread`.
  if noted[1] and redis.call('EXISTS', base .. 'guests') == 1 then
    --@ Uses abroad (send_out, write_letter, guest_of, tell_home)
    tell_home(noted)
  end
  for _, note in ipairs(noted) do
    if redis.call('EXISTS', base .. 'needs:' .. note[3]) == 1 then
      --@ Keys spread
      redis.call('RPUSH', spread, cjson.encode({'', note[3], 'note', note}))
    end
  end
  probe_at = not probing and stopped and (probe_at or math.huge)
  reply[5], reply[6] = troubles[1] and troubles or false, grouped[1] and grouped or false
end
-- Leases are written before the groups are settled: should a key of theirs hold something else, so that the script
-- fails, what was taken has a lease that ends.
if #leases > 0 then
  redis.call('ZADD', working, unpack(leases))
  redis.call('SET', record, cjson.encode({time = claimed, ids = given, probes = probed}), 'PX', 60000)
end
if finish then
  finish()
end

if more and finish then
  more = redis.call('EXISTS', pending, turns, priority) > 0
elseif more then
  -- Where there is nothing to finish, there was nothing but plain tasks.  A key that is named twice counts twice.
  local found = redis.call('EXISTS', bell, pending, pending)
  more, rung = found > 1, found % 2 == 1
end
-- While the queue is paused, what is pending does not count as work left, but the next probe counts as a deadline.
probe_at, more = more and probe_at, more and not probe_at
local other = coming and math.min(coming, probe_at or math.huge) or probe_at
local staying, rates, written = #given < ARGV[5] + 0, special, #leases > 0
--@ Uses tend (until_due)
reply[3], reply[4] = until_due, more and 1 or 0
return reply

-- Fire schedules: enqueue the tasks whose instants have come, by the server's time.
--
-- A schedule has its instants ahead, in `times:NAME` or each `every` ms, and the next of them as its score in
-- `schedules` ('+inf' where none is known).  An instant that is due is taken away in the step in which it is decided
-- what comes of it, so it fires once, whoever sweeps, and however often.  A task that is plain comes to `fresh`, which
-- the caller gives to `append`.
--@ Uses time (now, stamp, fraction), groups (book, settle), marks (marked, with_mark), revoke (take_out, revoke), enter
--@ Keys schedules, working, holes
local fire, fire_due, start
-- How far (ms) a clock of tests has moved the schedules: ids have the instants as they were.
local moved = tonumber(redis.call('GET', base .. 'moved') or nil) or 0
do
  -- Instants, and schedules, of one call at the most; how few instants of a schedule are few; how many are read at
  -- first, because more are seldom due; and so many bytes of payloads count as one instant more.
  local MOST_DUE, FEW, AT_FIRST, BYTES = 100, 8, 10, 10000
  -- The payload, which may be large, is read in the place of the first field where the schedule fires.
  local FIELDS = {'since', 'options', 'overlap', 'missed', 'grace', 'until', 'paused', 'every', 'last_id', 'fired',
    'skipped'}

  -- An instant, which somebody may have written: no earlier than any clock, since whoever counts from -1e300 in steps of a
  -- minute never ends; nil where it is none.
  local function instant_of(text)
    local instant = tonumber(text or nil)
    return instant and math.max(0, instant)
  end

  -- Whether options are such as `enter` takes: they may have been written by hand.
  local function are_options(given)
    local function may_be(name, kind)
      return given[name] == nil or type(given[name]) == kind
    end
    return type(given) == 'table' and type(given.timeout) == 'number' and may_be('group', 'string') and
      may_be('priority', 'number') and may_be('max_attempts', 'number')
  end

  -- Whether a task or a flow is on its way, or its holder still has it.  A flow with a dead task is finished as a dead
  -- task is.
  local function is_unfinished(id)
    local known = redis.pcall('HMGET', state .. id, 'status', 'dead')
    local status = known[1]
    return status == PENDING or status == WORKING or status == DELAYED or
      status == WAITING and (tonumber(known[2] or nil) or 0) <= 0 or
      status == CANCELLED and redis.call('ZSCORE', working, id) ~= false
  end

  -- What is unfinished of a firing: its task, or the flow that this has enqueued, whose id is that with '.flow'.
  local function rest_of(id)
    return is_unfinished(id) and id or is_unfinished(id .. '.flow') and id .. '.flow'
  end

  -- Have the firing of an instant come next, by what is said of the firing before: its id, or nil where it is dropped.
  function start(id, known, given, last, fresh)
    if last and known[3] == 'skip' and rest_of(last) then
      return nil
    end
    if not enter(id, known[1], given, fresh) then
      return nil
    end
    local left = last and last ~= id and known[3] == 'replace' and rest_of(last)
    if left then
      local it = redis.call('HMGET', state .. left, 'status', 'mark', 'group', 'order', 'dequeue_count',
        'flow', 'total')
      if it[1] ~= CANCELLED then
        revoke(left, it, 'by-its-schedule', 'f')
        -- A plain task that came, or came back, in this very call is in `fresh`, and in the list only after it.
        for k = #fresh, 1, -1 do
          if fresh[k] == last then
            table.remove(fresh, k)
            redis.call('SREM', holes, last)
            break
          end
        end
      end
    end
    return id
  end

  -- The instants of a schedule that are due by `last`, or the last of them where not `all` count; how many others are
  -- passed over, how many are to be taken from `times`, the next one, and whether that is due as well.
  local function take(times, first, every, all, most, last)
    if every then
      local count = math.max(0, math.floor((last - first) / every) + 1)
      local taken = all and math.min(count, most) or count
      local instants = {}
      for k = all and 0 or math.max(0, taken - 1), taken - 1 do
        instants[#instants + 1] = first + k * every
      end
      return instants, taken - #instants, 0, first + taken * every, taken < count
    end
    local list = redis.pcall('LRANGE', times, 0, all and most or AT_FIRST - 1)
    if not all and (instant_of(list[AT_FIRST]) or math.huge) <= last then
      list = redis.call('LRANGE', times, 0, -1)
    end
    local count, bound = 0, list.err and 0 or all and most or math.huge
    while count < bound and list[count + 1] and (instant_of(list[count + 1]) or 0) <= last do
      count = count + 1
    end
    local instants = {}
    for k = all and 1 or math.max(count, 1), count do
      instants[#instants + 1] = instant_of(list[k]) or 0
    end
    local following = instant_of(list[count + 1]) or math.huge
    return instants, count - #instants, count, following, following <= last
  end

  -- Fire what is due of a schedule, so many instants at the most: how many tasks came of it, how many instants it had,
  -- whether more are due, and whether few are left.
  function fire(name, fresh, most)
    local key, times = base .. 'schedule:' .. name, base .. 'times:' .. name
    local known = redis.pcall('HMGET', key, unpack(FIELDS))
    local first, since = instant_of(redis.call('ZSCORE', schedules, name)), instant_of(known[1]) or 0
    -- Nothing is due from before it was set.
    first = first and first < since and since <= now and since or first
    local well, given = pcall(cjson.decode, known[2])
    if known.err or redis.call('HEXISTS', key, 'payload') == 0 or not well or not are_options(given) then
      -- The schedule was deleted or spoilt by hand.
      redis.call('ZREM', schedules, name)
      return 0, 1, false, false
    elseif not first or first > now then
      return 0, 0, false, false
    end
    local every, over, grace = tonumber(known[8]), tonumber(known[6]) or math.huge, tonumber(known[5]) or math.huge
    every = every and every >= 1 and every or nil
    local instants, passed, popped, following, more =
      take(times, first, every, known[4] == 'all', most, math.min(now, over))
    -- A list that is used up before `until` goes on when somebody extends it.
    local closed = over <= now or over < following and following < math.huge
    following = following > over and math.huge or following
    -- See Memory.
    redis.call('ZREM', schedules, name)
    redis.call('ZADD', schedules, following == math.huge and '+inf' or string.format('%.0f', following), name)
    if popped > 0 then
      redis.call('LTRIM', times, popped, -1)
    end
    local fired, skipped, last, payload = 0, passed, known[9] ~= '' and known[9] or nil, nil
    for _, instant in ipairs(instants) do
      local id = nil
      if not (known[7] or now - instant > grace or known[4] == 'none' and passed > 0) then
        payload = payload or redis.call('HGET', key, 'payload')
        known[1] = payload
        id = start(string.format('%s@%.0f', name, instant + moved), known, given, last, fresh)
      end
      if id then
        last, fired = id, fired + 1
      else
        skipped = skipped + 1
      end
    end
    if instants[1] then
      redis.call('HSET', key, 'last', string.format('%.0f', instants[#instants]), 'last_id', last or '')
    end
    if fired > 0 then
      redis.call('HSET', key, 'fired', string.format('%.0f', (tonumber(known[10]) or 0) + fired))
    end
    if skipped > 0 then
      redis.call('HSET', key, 'skipped', string.format('%.0f', (tonumber(known[11]) or 0) + skipped))
    end
    local left = redis.pcall('LLEN', times)
    local few = not every and not closed and (tonumber(left) or 0) < FEW
    local bytes = payload and #payload * fired or 0
    return fired, math.max(1, #instants) + math.floor(bytes / BYTES), more, few
  end

  -- Fire the schedules that are due, some at the most: how many tasks came of it, whether more is due, and the names of
  -- those that have few instants left.
  function fire_due(fresh)
    local names = redis.call('ZRANGEBYSCORE', schedules, '-inf', stamp, 'LIMIT', 0, MOST_DUE)
    local left, dry, more, tasks_of_it = MOST_DUE, {}, #names == MOST_DUE, 0
    for _, name in ipairs(names) do
      if left <= 0 then
        more = true
        break
      end
      local fired, used, goes_on, few = fire(name, fresh, left)
      tasks_of_it, left, more = tasks_of_it + fired, left - used, more or goes_on
      dry[#dry + 1] = few and name or nil
    end
    return tasks_of_it, more, dry
  end
end

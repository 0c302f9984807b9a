-- Groups: fair turns, strict order, limits and rates, by one mechanism.
--
-- A group that may go on has one id in `turns`, its head, which `heads` names.  The head, the tasks that are worked on
-- and those delayed for a retry hold a slot of their group each: `groups` counts them, `holders` names them.  What
-- changes is noted in a book, and written by `settle`, which also lets the next task of each group come up.
--
-- The book is opened by the first call of `book`, so a call without groups makes two closures and not two dozen.  In
-- the book a group is a number, and each of its properties an array, because a table for each group would cost more
-- than all else.
--@ Uses time (now, stamp, fraction)

-- Nothing is to be settled while no book is open.
local function settle()
  return false
end

-- `extend`, which only the claim gives, is called once, when the book is opened; see `_turns.lua`.
local function book(extend)
  --@ Keys turns, groups, heads, limits, rated, paused, later, holders
  --@ Uses probe (probe_of, next_probe), decode

  -- LEGEND.  `k` is the number of a group in this book, and a name that is followed by [k] has a value for each group;
  -- "its" is that group's.
  --
  -- Read from the server, for all groups met at once, but for what says when:
  --   names[k]         its name
  --   numbers          the number of a name
  --   read_to          the groups up to this number were read
  --   group_keys[k]    its key, `group:NAME`; made when it is needed
  --   count_before[k]  its field in `groups` before this call, as text; false where it has none
  --   head_before[k]   its field in `heads` before this call, an id; false where it has none
  --   limited          whether `limits` or `paused` is there; nil before the first read
  --   default_limit    slots at the most, of a group that has no limit of its own
  --   default_rate     {starts, ms}, of a group that has no rate of its own; false is none
  --   own_limit[k]     slots at the most; nil is the default
  --   own_rate[k]      {starts, ms}, false is none; nil is the default
  --   halted[k]        whether it is paused by its name
  --   opens[k]         when its pause lets the next probe through (ms); nil is never
  --   tokens[k]        what its bucket has now; read when it is needed
  --   any_later        whether `later` is there; asked when it is needed
  --
  -- Noted, of what the call does, and written by `settle`:
  --   slots_change[k]  slots that came back, as a number below 0
  --   freed            ids that hold a slot no more
  --   incoming[k]      order and id by turns: tasks that wait in it from now on
  --   later_change[k]  how many more of its tasks wait for their first time
  --   struck           ids of heads that are gone; they leave `holders` last, because they may have come up just now
  --   token_taken[k]   whether a hand-out took a token
  --   clock_back[k]    whether its bucket was of an instant to come
  --   renewed          whether limits were changed, so that buckets get another time to live
  --
  -- Decided, by these:
  --   slots[k]         slots in use
  --   head[k]          its head, an id; false or nil is none
  --   empty[k]         whether nothing waits in `group:NAME`; nil is not known
  --   next_token[k]    when it gets its next token or probe (ms), where it waits for that
  --   holding          id and name by turns: tasks that hold a slot from now on
  --   joined           ids that became heads in this call
  --   self.passed_on   how many of `joined` the claim has popped again; nil where no claim has opened the book
  --   served           names of groups that wait in `rated` no more
  --   taken_ahead[k]   id and order by turns: out of `group:NAME` already, to become heads in this call
  --   cursor[k]        where the first of these is that has not become one
  local self = {}
  local names, numbers, read_to, group_keys, count_before, head_before = {}, {}, 0, {}, {}, {}
  local limited, default_limit, default_rate, own_limit, own_rate, halted, opens = nil, nil, nil, {}, {}, {}, {}
  local tokens, any_later = {}, nil
  local slots_change, freed, incoming, later_change, struck, token_taken = {}, {}, {}, {}, {}, {}
  local clock_back, renewed = {}, false
  local slots, head, empty, next_token, holding, joined, served = {}, {}, {}, {}, {}, {}, {}
  local taken_ahead, cursor = {}, {}

  -- From now on `book` gives this one, and `settle` (below) settles it.
  function book()
    return self
  end

  local function group_key(k)
    group_keys[k] = group_keys[k] or base .. 'group:' .. names[k]
    return group_keys[k]
  end

  local function limit_of(k)
    return own_limit[k] or default_limit
  end

  -- {starts, ms}, or false for none; nil in `own_rate` is the default, so an `or` would not do.
  local function rate_of(k)
    if own_rate[k] == nil then
      return default_rate
    end
    return own_rate[k]
  end

  -- The number of a group, which is met here at the latest.
  function self.meet(name)
    local k = numbers[name]
    if not k then
      k = #names + 1
      numbers[name], names[k], slots_change[k] = k, name, 0
    end
    return k
  end

  -- Read the groups that were met since the last time, all at once.
  function self.read()
    if read_to == #names then
      return
    end
    local fresh = read_to == 0 and names or {unpack(names, read_to + 1)}
    local counts, found = redis.call('HMGET', groups, unpack(fresh)), redis.call('HMGET', heads, unpack(fresh))
    local own, still, asked = {}, {}, {}
    if limited == nil then
      limited = redis.call('EXISTS', limits, paused) > 0
      local default = limited and redis.pcall('HGET', limits, '')
      default_limit, default_rate = decode(type(default) == 'string' and default or '', math.huge, false)
    end
    if limited then
      -- Where a key holds something else, an error's table comes back, which has nothing at any number.
      own = redis.pcall('HMGET', limits, unpack(fresh))
      -- The first is no group: see `shut`.
      still = redis.pcall('SMISMEMBER', paused, '\255', unpack(fresh))
    end
    for j = 1, #fresh do
      local k = read_to + j
      count_before[k], slots[k], head[k], head_before[k] = counts[j], tonumber(counts[j]) or 0, found[j], found[j]
      if limited then
        halted[k] = still[j + 1] == 1 or still[1] == 1
        if halted[k] and still[1] ~= 1 then
          opens[k] = probe_of(names[k])
        end
        if own[j] then
          own_limit[k], own_rate[k] = decode(own[j], default_limit, default_rate)
        end
      end
      asked[j] = group_key(k)
    end
    if #fresh > 1 and redis.call('EXISTS', unpack(asked)) == 0 then
      -- One EXISTS over all groups: if none has a task behind its head, no ZPOPMIN is needed for any.
      for k = read_to + 1, #names do
        empty[k] = true
      end
    end
    read_to = #names
  end

  -- Tokens in the bucket of a group that has a rate: `starts` at the most, and as many more in each `period` (ms).
  local function bucket(k)
    if not tokens[k] then
      local text, starts, period = redis.pcall('GET', base .. 'rate:' .. names[k]), unpack(rate_of(k))
      local left, since = string.match(type(text) == 'string' and text or '', '^(%S+) (%d+)$')
      left, since = math.max(0, tonumber(left) or starts), tonumber(since) or now
      -- An instant to come says that the clock went back: the bucket counts from now on.
      clock_back[k], since = since > now, math.min(since, now)
      tokens[k] = math.min(starts, left + (now - since) * starts / period)
    end
    return tokens[k]
  end

  -- Whether a group waits for a token.  A bucket counts as having one from 1 - 1e-9 on, because the refill is computed
  -- in floating point.
  local function is_dry(k)
    return rate_of(k) and bucket(k) < 1 - 1e-9
  end

  -- How long (ms) a bucket needs for so many tokens.
  local function time_of(count, k)
    local starts, period = unpack(rate_of(k))
    return math.max(1, math.ceil(count * period / starts))
  end

  -- Whether a group is paused by its name and its next probe, if there is one, is still to come.
  local function is_shut(k)
    return halted[k] and not (opens[k] and opens[k] <= now)
  end

  -- Let the next task of a group become its head, if the group may go on and has one.  If it is only the time of a
  -- token or a probe that is missing, note that time.
  local function advance(k)
    if head[k] or slots[k] >= limit_of(k) then
      return
    end
    if is_shut(k) then
      next_token[k] = opens[k]
      return
    end
    next_token[k] = is_dry(k) and now + time_of(1 - tokens[k], k)
    if next_token[k] then
      return
    end
    local id
    if taken_ahead[k] and taken_ahead[k][cursor[k]] then
      id, cursor[k] = taken_ahead[k][cursor[k]], cursor[k] + 2
    elseif not empty[k] then
      id = redis.call('ZPOPMIN', group_key(k))[1]
      empty[k] = not id
    end
    if id then
      head[k], slots[k] = id, slots[k] + 1
      holding[#holding + 1], holding[#holding + 2] = id, names[k]
      joined[#joined + 1] = id
    end
  end

  -- A task that held a slot of the group holds it no more.
  function self.free(id, name)
    local k = self.meet(name)
    slots_change[k], freed[#freed + 1] = slots_change[k] - 1, id
  end

  -- A task waits in its group from now on.
  function self.wait(id, name, order)
    local k = self.meet(name)
    local members = incoming[k]
    order = tonumber(order) or 0
    if members then
      members[#members + 1], members[#members + 2] = order, id
    else
      incoming[k] = {order, id}
    end
  end

  -- So many more tasks of the group, or fewer, wait for the time that they were enqueued for.
  function self.delay(name, count)
    local k = self.meet(name)
    later_change[k] = (later_change[k] or 0) + count
  end

  -- A task that waited in its group, or was its head, is gone: whether it was the head.
  function self.strike(id, name)
    local k = self.meet(name)
    self.read()
    if head[k] ~= id then
      redis.call('ZREM', group_key(k), id)
      -- One that came, or came back, in this very call is not written yet.
      local members = incoming[k] or {}
      for j = #members, 2, -2 do
        if members[j] == id then
          table.remove(members, j)
          table.remove(members, j - 1)
        end
      end
      incoming[k] = #members > 0 and members or nil
      return false
    end
    head[k], slots_change[k], struck[#struck + 1] = false, slots_change[k] - 1, id
    return true
  end

  -- The group of a task that holds a slot, where the task's own state cannot tell it.
  function self.owner(id)
    return redis.call('HGET', holders, id)
  end

  -- Limits were changed.  The time to live of a bucket depends on its rate, so buckets are to be written anew.
  function self.renew()
    renewed = true
  end

  -- Whether a head may still go on.  If it may not, because of a pause, a limit or a rate, it goes back into its group.
  function self.may(k, id, order)
    if not is_shut(k) and slots[k] <= limit_of(k) and not is_dry(k) then
      return true
    end
    head[k] = false
    self.free(id, names[k])
    self.wait(id, names[k], order)
    return false
  end

  -- The head was handed out: take a token, and let the next come up.  Whether it was a probe: the group is paused, and
  -- lets none through for a while.
  function self.take(k)
    if halted[k] then
      opens[k] = next_probe(names[k])
    end
    if rate_of(k) then
      tokens[k], token_taken[k] = bucket(k) - 1, true
    end
    head[k] = false
    advance(k)
    return halted[k]
  end

  -- How many more tasks of a group may come up now, behind its head.
  local function room_of(k)
    if halted[k] then
      return 0
    end
    return math.min(limit_of(k) - slots[k], rate_of(k) and math.floor(bucket(k) + 1e-9) - 1 or math.huge)
  end

  -- Write what waits in a group from now on: what came into it, and what was taken ahead and has not come up.
  local function store(k)
    local members, items = incoming[k] or {}, taken_ahead[k] or {}
    for j = cursor[k] or 1, #items, 2 do
      members[#members + 1], members[#members + 2] = items[j + 1], items[j]
    end
    if #members > 0 then
      redis.call('ZADD', group_key(k), unpack(members))
      empty[k] = false
    end
    incoming[k], taken_ahead[k] = nil, nil
  end

  -- Apply what was noted of a group and let its next task come up: whether nothing of the group is left.
  local function close(k)
    slots[k] = math.max(0, slots[k] + slots_change[k])
    if later_change[k] then
      any_later = true
      if redis.call('HINCRBY', later, names[k], later_change[k]) <= 0 then
        redis.call('HDEL', later, names[k])
      end
    end
    if incoming[k] and #incoming[k] == 2 and not count_before[k] then
      -- The only task of a new group becomes its head at once, so the group needs no key `group:NAME`.
      taken_ahead[k], cursor[k], empty[k], incoming[k] = {incoming[k][2], incoming[k][1]}, 1, true, nil
    elseif incoming[k] then
      store(k)
    end
    advance(k)
    if taken_ahead[k] and taken_ahead[k][cursor[k]] then
      store(k)
    end
    if not head[k] and not empty[k] and (next_token[k] or slots[k] == 0) then
      empty[k] = redis.call('EXISTS', group_key(k)) == 0
    end
    if head[k] or slots[k] > 0 or not empty[k] then
      return false
    end
    if any_later == nil then
      any_later = redis.call('EXISTS', later) == 1
    end
    return not any_later or redis.call('HEXISTS', later, names[k]) == 0
  end

  local function write(command, name, words)
    if #words > 0 then
      redis.call(command, name, unpack(words))
    end
    if #words > 0 and command == 'HSET' and redis.call('HLEN', name) * 2 == #words then
      -- The hash is new.  The server searches a small hash from one end to the other, which costs more than all else
      -- here, until the hash has had a field of more than 64 bytes.  So write such a field and take it away.  It is no
      -- text, so it is neither a group nor an id of this library; of another client it may be, and is then left alone.
      local long = string.rep('\255', 65)
      if redis.call('HSETNX', name, long, '') == 1 then
        redis.call('HDEL', name, long)
      end
    end
  end

  -- Write the bucket, and note in `rated` when the group gets its next token or probe.  True if that time is new, so
  -- that consumers must be rung.
  local function ration(k)
    local starts = rate_of(k) and rate_of(k)[1]
    if starts and (token_taken[k] or clock_back[k] or renewed and bucket(k) < starts) then
      local full = time_of(starts - tokens[k], k)
      redis.call('SET', base .. 'rate:' .. names[k], string.format('%.17g %.0f', tokens[k], now), 'PX', full)
    end
    if next_token[k] and not empty[k] then
      return redis.call('ZADD', rated, next_token[k], names[k]) == 1
    end
    served[#served + 1] = names[k]
  end

  -- Write all that was noted: whether consumers must be rung, because a task came up or a time is new.
  function self.settle()
    local counted, gone, headed, headless, news = {}, {}, {}, {}, false
    self.read()
    for k = 1, #names do
      if close(k) then
        gone[#gone + 1] = count_before[k] and names[k] or nil
      elseif tonumber(count_before[k]) ~= slots[k] then
        counted[#counted + 1], counted[#counted + 2] = names[k], slots[k]
      end
      if not head[k] then
        headless[#headless + 1] = head_before[k] and names[k] or nil
      elseif head[k] ~= head_before[k] then
        headed[#headed + 1], headed[#headed + 2] = names[k], head[k]
      end
      news = (rate_of(k) or opens[k]) and ration(k) or news
    end
    local joining = {unpack(joined, (self.passed_on or 0) + 1)}
    write('HDEL', holders, freed)
    write('HSET', holders, holding)
    write('HDEL', holders, struck)
    write('HDEL', groups, gone)
    write('HSET', groups, counted)
    write('HDEL', heads, headless)
    write('HSET', heads, headed)
    write('ZREM', rated, served)
    write('LPUSH', turns, joining)
    return news or #joining > 0
  end

  settle = self.settle
  if extend then
    extend(self, names, head, empty, freed, holding, joined, taken_ahead, cursor, group_key, room_of)
  end
  return self
end

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
  --@ Uses probe (probe_of, next_probe), decode, write

  -- LEGEND.  `k` is the number of a group in this book, and a name that is followed by [k] has a value for each group;
  -- "its" is that group's.
  --
  -- Read from the server, for all groups met at once, but for what says when:
  --   names[k]         its name
  --   numbers, met     the number of a name, and how many there are
  --   read_to          the groups up to this number were read
  --   count_before[k]  its field in `groups` before this call, -1 for what is no number; false where it has none, nil
  --                    where it was not asked for, because whatever it is, it stays
  --   head_before[k]   its field in `heads` before this call, an id; false where it has none
  --   limited          whether `limits` or `paused` is there; nil before the first read (`self.limited`, too)
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
  --   slots_change[k]  slots that came back, as a number below 0; nil is none
  --   freed            ids that hold a slot no more
  --   single[k]        the task that waits in it from now on, where that is one; `rank[k]` is its order
  --   incoming[k]      order and id by turns: tasks that wait in it from now on, where these are several
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
  local names, numbers, met, read_to, count_before, head_before = {}, {}, 0, 0, {}, {}
  local limited, default_limit, default_rate, own_limit, own_rate, halted, opens = nil, nil, nil, {}, {}, {}, {}
  local tokens, any_later = {}, nil
  local slots_change, freed, single, rank, incoming, later_change, struck = {}, {}, {}, {}, {}, {}, {}
  local token_taken, clock_back, renewed = {}, {}, false
  local slots, head, empty, next_token, holding, joined, served = {}, {}, {}, {}, {}, {}, {}
  local taken_ahead, cursor = {}, {}
  local self, prefix = {}, base .. 'group:'

  if extend then
    self.names, self.head, self.empty, self.taken_ahead = names, head, empty, taken_ahead
  end

  -- From now on `book` gives this one, and `settle` (below) settles it.
  function book()
    return self
  end

  local function group_key(k)
    return prefix .. names[k]
  end

  -- Do something with what waits in a group.  An error in the midst of a script would cost tasks of other groups their
  -- places, so a key that holds something else, in which no task can be, is thrown away.
  function self.at(k, command, ...)
    local said = redis.pcall(command, group_key(k), ...)
    local err = type(said) == 'table' and said.err
    if not err then
      return said
    elseif string.find(err, '^WRONGTYPE') then
      redis.call('DEL', group_key(k))
    end
    return redis.call(command, group_key(k), ...)
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
  local function meet(name)
    local k = numbers[name]
    if not k then
      met = met + 1
      k, numbers[name], names[met] = met, met, name
    end
    return k
  end
  self.meet = meet

  -- Read the groups that were met since the last time, all at once.
  --
  -- `aim` is 'taking' where heads of them are to be handed out, so that slots matter only where something is behind a
  -- head, or limited; 'closing' where nothing more will be noted of them, so that heads do not matter where no slot is in
  -- use any more and nothing waits.
  function self.read(aim)
    local before, first = read_to, read_to + 1
    if before == met then
      return
    end
    local fresh, own, still = before == 0 and names or {unpack(names, first)}, nil, nil
    read_to = met
    if limited == nil then
      limited, default_limit, default_rate = redis.call('EXISTS', limits, paused) > 0, math.huge, false
      local default = limited and redis.pcall('HGET', limits, '')
      if type(default) == 'string' then
        default_limit, default_rate = decode(default, default_limit, default_rate)
      end
      self.limited = limited
    end
    if limited then
      -- Where a key holds something else, an error's table comes back, which has nothing at any number.
      own = redis.pcall('HMGET', limits, unpack(fresh))
      -- The first is no group: see `shut`.
      still = redis.pcall('SMISMEMBER', paused, '\255', unpack(fresh))
    end

    local closing, counts, behind, found = aim == 'closing', nil, nil, nil
    local heads_matter, asked, i = not closing, {}, 0
    if aim ~= 'taking' or limited or met == first then
      counts = redis.call('HMGET', groups, unpack(fresh))
    end
    for k = first, met do
      local count = counts and counts[k - before]
      if counts then
        count = count and (count == '1' and 1 or tonumber(count) or -1)
        count_before[k], slots[k] = count, count and count > 0 and count or 0
        heads_matter = heads_matter or not count or count + (slots_change[k] or 0) ~= 0
      end
      -- A group without a field in `groups` is new, unless the field was lost.
      if count or not closing or slots_change[k] then
        i = i + 1
        asked[i] = prefix .. names[k]
      end
    end
    if met > first then
      -- One EXISTS over all groups: if none has a task behind its head, no ZPOPMIN is needed for any.
      behind = i > 0 and redis.call('EXISTS', unpack(asked)) > 0
    end
    if behind and not counts then
      counts = redis.call('HMGET', groups, unpack(fresh))
      for k = first, met do
        local count = tonumber(counts[k - before])
        count_before[k], slots[k] = count or counts[k - before] and -1, count and math.max(0, count) or 0
      end
    end
    if heads_matter or behind ~= false then
      found = redis.call('HMGET', heads, unpack(fresh))
    end
    for k = first, met do
      local j = k - before
      if behind == false then
        empty[k] = true
      end
      if found and found[j] then
        head[k], head_before[k] = found[j], found[j]
      end
      if limited then
        halted[k] = still[j + 1] == 1 or still[1] == 1
        if halted[k] and still[1] ~= 1 then
          opens[k] = probe_of(names[k])
        end
        if own[j] then
          own_limit[k], own_rate[k] = decode(own[j], default_limit, default_rate)
        end
      end
    end
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

  -- A task becomes the head of its group.
  local function come_up(k, id)
    local i = #holding
    head[k], slots[k] = id, slots[k] + 1
    holding[i + 1], holding[i + 2], joined[#joined + 1] = id, names[k], id
  end

  -- Let the next task of a group become its head, if the group may go on and has one.  If it is only the time of a
  -- token or a probe that is missing, note that time.
  local function advance(k)
    if head[k] or limited and slots[k] >= limit_of(k) then
      return
    end
    if limited and is_shut(k) then
      next_token[k] = opens[k]
      return
    end
    next_token[k] = limited and is_dry(k) and now + time_of(1 - tokens[k], k)
    if next_token[k] then
      return
    end
    local id
    if taken_ahead[k] and taken_ahead[k][cursor[k]] then
      id, cursor[k] = taken_ahead[k][cursor[k]], cursor[k] + 2
    elseif not empty[k] then
      id = self.at(k, 'ZPOPMIN')[1]
      empty[k] = not id
    end
    if id then
      come_up(k, id)
    end
  end

  -- A task that held a slot of the group holds it no more.
  function self.free(id, name)
    local k = meet(name)
    slots_change[k], freed[#freed + 1] = (slots_change[k] or 0) - 1, id
  end

  -- A task waits in its group from now on.
  function self.wait(id, name, order)
    local k = meet(name)
    local members = incoming[k]
    if members then
      members[#members + 1], members[#members + 2] = order, id
    elseif single[k] then
      incoming[k], single[k] = {rank[k], single[k], order, id}, nil
    else
      single[k], rank[k] = id, order
    end
  end

  -- So many more tasks of the group, or fewer, wait for the time that they were enqueued for.
  function self.delay(name, count)
    local k = meet(name)
    later_change[k] = (later_change[k] or 0) + count
  end

  -- A task that waited in its group, or was its head, is gone: whether it was the head.
  function self.strike(id, name)
    local k = meet(name)
    self.read()
    if head[k] ~= id then
      self.at(k, 'ZREM', id)
      -- One that came, or came back, in this very call is not written yet.
      if single[k] == id then
        single[k] = nil
      end
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
    if count_before[k] == nil then
      count_before[k] = tonumber(redis.call('HGET', groups, name)) or false
      slots[k] = count_before[k] or 0
    end
    head[k], slots_change[k], struck[#struck + 1] = false, (slots_change[k] or 0) - 1, id
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
    if not limited or not is_shut(k) and slots[k] <= limit_of(k) and not is_dry(k) then
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
    head[k] = false
    if limited and halted[k] then
      opens[k] = next_probe(names[k])
    end
    if limited and rate_of(k) then
      tokens[k], token_taken[k] = bucket(k) - 1, true
    end
    if taken_ahead[k] or not empty[k] then
      advance(k)
    end
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
    local members, items = incoming[k] or single[k] and {rank[k], single[k]} or {}, taken_ahead[k] or {}
    for j = cursor[k] or 1, #items, 2 do
      members[#members + 1], members[#members + 2] = items[j + 1], items[j]
    end
    if #members > 0 then
      self.at(k, 'ZADD', unpack(members))
      empty[k] = false
    end
    single[k], incoming[k], taken_ahead[k] = nil, nil, nil
  end

  -- Apply what was noted of a group and let its next task come up: whether nothing of the group is left.
  local function close(k)
    local count = slots[k] + (slots_change[k] or 0)
    slots[k] = count > 0 and count or 0
    if later_change[k] then
      any_later = true
      if redis.call('HINCRBY', later, names[k], later_change[k]) <= 0 then
        redis.call('HDEL', later, names[k])
      end
    end
    if single[k] and not count_before[k] and not taken_ahead[k] then
      -- The only task of a new group becomes its head at once, so the group needs no key `group:NAME`.
      if not limited and not head[k] then
        empty[k] = true
        come_up(k, single[k])
        return false
      end
      taken_ahead[k], cursor[k], empty[k], single[k] = {single[k], rank[k]}, 1, true, nil
    elseif single[k] or incoming[k] then
      store(k)
    end
    if taken_ahead[k] or not empty[k] then
      advance(k)
    end
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
    local counted, gone, headed, headless, news, g, c, l, h = {}, {}, {}, {}, false, 0, 0, 0, 0
    self.read('closing')
    for k = 1, met do
      local name, count, first, first_before = names[k], count_before[k], nil, head_before[k]
      if count ~= nil and close(k) then
        if count then
          g = g + 1
          gone[g] = name
        end
      elseif count ~= slots[k] then
        counted[c + 1], counted[c + 2], c = name, slots[k], c + 2
      end
      first = head[k]
      if not first then
        if first_before then
          l = l + 1
          headless[l] = name
        end
      elseif first ~= first_before then
        headed[h + 1], headed[h + 2], h = name, first, h + 2
      end
      if limited then
        news = (rate_of(k) or opens[k]) and ration(k) or news
      end
    end
    local joining = (self.passed_on or 0) > 0 and {unpack(joined, self.passed_on + 1)} or joined
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
    extend(self, names, head, empty, freed, holding, joined, taken_ahead, cursor, room_of, meet)
  end
  return self
end

-- Groups: fair turns, strict order, limits and rates, by one mechanism.
--
-- A group that may go on has one id in `turns`, its head, which `heads` names.  The head, the tasks that are worked on
-- and those delayed for a retry hold a slot of their group each: `groups` counts them, `holders` names them.  What
-- changes is noted in a book, and written by `settle`, which also lets the next task of each group come up.
--
-- The book is opened by who meets a group, so others make one closure and not a dozen.  In it a group is a number, and
-- each of its properties an array: a table for each group would cost more than all else.
--@ uses time (now, stamp, exact, fraction)

-- Nothing is to be settled while no book is open.
local function settle()
  return false
end

local function book()
  --@ keys turns, groups, heads, limits, rated, paused, later, holders
  --@ uses probe (probe_of, next_probe), decode
  local self = {}
  local numbers, names, seen = {}, {}, 0
  local keys, known, slots, head, was, limit, rate, halted, change = {}, {}, {}, {}, {}, {}, {}, {}, {}
  local incoming, delays, tokens, taken, thirsty, ahead, at, empty, opens = {}, {}, {}, {}, {}, {}, {}, {}, {}
  local freed, held, lost, joined, gone_on, rounds, reset = {}, {}, {}, {}, 0, 1, {}
  local used_up, cycled, quenched = false, false, {}
  local limited, default_limit, default_rate, delayed, renewed

  -- From now on this one is the book, and is settled.
  function book()
    return self
  end

  local function key(k)
    keys[k] = keys[k] or base .. 'group:' .. names[k]
    return keys[k]
  end

  local function limit_of(k)
    return limit[k] or default_limit
  end

  -- A rate, or false.
  local function rate_of(k)
    if rate[k] == nil then
      return default_rate
    end
    return rate[k]
  end

  function self.meet(name)
    local k = numbers[name]
    if not k then
      k = #names + 1
      numbers[name], names[k], change[k] = k, name, 0
    end
    return k
  end

  -- Read the groups that were met, all at once.
  function self.read()
    if seen == #names then
      return
    end
    local fresh = seen == 0 and names or {unpack(names, seen + 1)}
    local counts, found = redis.call('HMGET', groups, unpack(fresh)), redis.call('HMGET', heads, unpack(fresh))
    local own, still, asked = {}, {}, {}
    if limited == nil then
      limited = redis.call('EXISTS', limits, paused) > 0
      local default = limited and redis.pcall('HGET', limits, '')
      default_limit, default_rate = decode(type(default) == 'string' and default or '', math.huge, false)
    end
    if limited then
      -- Where somebody put something else there, these are lists of nothing.
      own, still = redis.pcall('HMGET', limits, unpack(fresh)), redis.pcall('SMISMEMBER', paused, unpack(fresh))
    end
    for j = 1, #fresh do
      local k = seen + j
      known[k], slots[k], head[k], was[k] = counts[j], tonumber(counts[j]) or 0, found[j], found[j]
      if limited then
        halted[k] = still[j] == 1
        if halted[k] then
          opens[k] = probe_of(names[k])
        end
        if own[j] then
          limit[k], rate[k] = decode(own[j], default_limit, default_rate)
        end
      end
      asked[j] = key(k)
    end
    if #fresh > 1 and redis.call('EXISTS', unpack(asked)) == 0 then
      -- Nothing is behind any head: one question, and not one for each.
      for k = seen + 1, #names do
        empty[k] = true
      end
    end
    seen = #names
  end

  -- Tokens in the bucket of a group that has a rate: rate[1] at the most, and as many more in rate[2] ms.
  local function bucket(k)
    if not tokens[k] then
      local text, most, period = redis.pcall('GET', base .. 'rate:' .. names[k]), unpack(rate_of(k))
      local left, since = string.match(type(text) == 'string' and text or '', '^(%S+) (%d+)$')
      left, since = math.max(0, tonumber(left) or most), tonumber(since) or now
      -- Where the clock went back, it counts from now on.
      reset[k], since = since > now, math.min(since, now)
      tokens[k] = math.min(most, left + (now - since) * most / period)
    end
    return tokens[k]
  end

  -- Whether a group waits for a token; what is one but for the rounding is one.
  local function is_dry(k)
    return rate_of(k) and bucket(k) < 1 - 1e-9
  end

  -- How long (ms) a bucket needs for so many tokens.
  local function time_of(count, k)
    local most, period = unpack(rate_of(k))
    return math.max(1, math.ceil(count * period / most))
  end

  -- Whether a group is paused, and lets no probe through now.
  local function is_shut(k)
    return halted[k] and not (opens[k] and opens[k] <= now)
  end

  -- Let the next task of a group be its head, where there is one and it may.
  local function advance(k)
    if head[k] or slots[k] >= limit_of(k) then
      return
    end
    -- When it may go on, where it waits for that.
    if is_shut(k) then
      thirsty[k] = opens[k]
      return
    end
    thirsty[k] = is_dry(k) and now + time_of(1 - tokens[k], k)
    if thirsty[k] then
      return
    end
    local id
    if ahead[k] and ahead[k][at[k]] then
      id, at[k] = ahead[k][at[k]], at[k] + 2
    elseif not empty[k] then
      id = redis.call('ZPOPMIN', key(k))[1]
      empty[k] = not id
    end
    if id then
      head[k], slots[k] = id, slots[k] + 1
      held[#held + 1], held[#held + 2] = id, names[k]
      joined[#joined + 1] = id
    end
  end

  -- A task that held a slot holds it no more.
  function self.free(id, name)
    local k = self.meet(name)
    change[k], freed[#freed + 1] = change[k] - 1, id
  end

  -- A task waits in its group from now on.
  function self.wait(id, name, order)
    local k = self.meet(name)
    local members = incoming[k] or {}
    members[#members + 1], members[#members + 2] = tonumber(order) or 0, id
    incoming[k] = members
  end

  -- So many more, or less, of the group wait for the time that they were enqueued for.
  function self.delay(name, more)
    local k = self.meet(name)
    delays[k] = (delays[k] or 0) + more
  end

  -- A task that waited in its group, or was its head, is gone; whether it was the head.
  function self.strike(id, name)
    local k = self.meet(name)
    self.read()
    if head[k] ~= id then
      redis.call('ZREM', key(k), id)
      return false
    end
    head[k], change[k], lost[#lost + 1] = false, change[k] - 1, id
    return true
  end

  -- Whose id it is, where its own state cannot tell.
  function self.owner(id)
    return redis.call('HGET', holders, id)
  end

  -- Limits were changed: the time to live of a bucket is by its rate.
  function self.renew()
    renewed = true
  end

  -- The rest is for the claim.  Up to `count` heads, those whose turn it is first.
  function self.pop_heads(count)
    local ids = not used_up and redis.call('RPOP', turns, count) or {}
    used_up, cycled = #ids < count, #ids == 0
    if cycled then
      -- All others had their turn: those that came up in this call go on.
      for j = 1, math.min(count, #joined - gone_on) do
        ids[j] = joined[gone_on + j]
      end
      gone_on = gone_on + #ids
    end
    rounds = used_up and #ids > 0 and math.ceil(count / #ids) or 1
    return ids
  end

  -- Heads that were not taken go back to where they came from.
  function self.put_back(ids, from)
    if cycled then
      gone_on = gone_on - (#ids - from + 1)
      return
    end
    local rest = {}
    for j = #ids, from, -1 do
      rest[#rest + 1] = ids[j]
    end
    redis.call('RPUSH', turns, unpack(rest))
    used_up = false
  end

  -- Whether an id of `turns` is the head of its group; it is as well where only its field in `heads` was lost.
  function self.is_head(k, id)
    if not head[k] and redis.call('HGET', base .. 'task:' .. id, 'status') == '0' and self.owner(id) == names[k] then
      head[k] = id
    end
    return head[k] == id
  end

  -- Whether a head may still go on; else it goes back into its group.
  function self.may(k, id, order)
    if not is_shut(k) and slots[k] <= limit_of(k) and not is_dry(k) then
      return true
    end
    head[k] = false
    self.free(id, names[k])
    self.wait(id, names[k], order)
    return false
  end

  -- Take those behind the head that may come up in this call; where none may, only look at the first.
  local function look(k)
    local most = math.min(rounds, limit_of(k) - slots[k], rate_of(k) and math.floor(bucket(k) + 1e-9) - 1 or rounds)
    if most > 0 and not halted[k] then
      ahead[k], at[k] = redis.call('ZPOPMIN', key(k), most), 1
      empty[k] = #ahead[k] < 2 * most
      return nil
    end
    local first = redis.call('ZRANGE', key(k), 0, 0, 'WITHSCORES')
    empty[k] = not first[1]
    return first[1], first[2]
  end

  -- The task that has come into the group since and goes before the head, which it is now instead; nil when none has.
  function self.better(k, id, order)
    local first, score
    if cycled then
      -- It came up in this call, as the first of all.
      return nil
    end
    if not ahead[k] and not empty[k] then
      first, score = look(k)
    end
    local line, j = ahead[k], at[k]
    if line then
      first, score = line[j], line[j + 1]
    end
    if not first or tonumber(score) > order then
      return nil
    end
    if line then
      while line[j + 2] and tonumber(line[j + 3]) < order do
        line[j], line[j + 1], j = line[j + 2], line[j + 3], j + 2
      end
      line[j], line[j + 1] = id, order
      if not line[j + 2] and not empty[k] then
        -- Others of the group may come before it.
        line[j], line[j + 1] = nil, nil
        redis.call('ZADD', key(k), order, id)
      end
    else
      redis.call('ZPOPMIN', key(k))
      redis.call('ZADD', key(k), order, id)
    end
    head[k], freed[#freed + 1] = first, id
    held[#held + 1], held[#held + 2] = first, names[k]
    return first
  end

  -- The head was handed out: the next comes up.  Whether it was a probe, after which there is none for a while.
  function self.take(k)
    if halted[k] then
      opens[k] = next_probe(names[k])
    end
    if rate_of(k) then
      tokens[k], taken[k] = bucket(k) - 1, true
    end
    head[k] = false
    advance(k)
    return halted[k]
  end

  -- Write what waits in a group from now on: what came into it, and what was looked at and not taken.
  local function store(k)
    local members, line = incoming[k] or {}, ahead[k] or {}
    for j = at[k] or 1, #line, 2 do
      members[#members + 1], members[#members + 2] = line[j + 1], line[j]
    end
    if #members > 0 then
      redis.call('ZADD', key(k), unpack(members))
      empty[k] = false
    end
    incoming[k], ahead[k] = nil, nil
  end

  -- Let the next of a group come up; whether nothing of the group is left.
  local function close(k)
    slots[k] = math.max(0, slots[k] + change[k])
    if delays[k] then
      delayed = true
      if redis.call('HINCRBY', later, names[k], delays[k]) <= 0 then
        redis.call('HDEL', later, names[k])
      end
    end
    if incoming[k] and #incoming[k] == 2 and not known[k] then
      -- A group of one task needs no key of its own.
      ahead[k], at[k], empty[k], incoming[k] = {incoming[k][2], incoming[k][1]}, 1, true, nil
    elseif incoming[k] then
      store(k)
    end
    advance(k)
    if ahead[k] and ahead[k][at[k]] then
      store(k)
    end
    if not head[k] and not empty[k] and (thirsty[k] or slots[k] == 0) then
      empty[k] = redis.call('EXISTS', key(k)) == 0
    end
    if head[k] or slots[k] > 0 or not empty[k] then
      return false
    end
    if delayed == nil then
      delayed = redis.call('EXISTS', later) == 1
    end
    return not delayed or redis.call('HEXISTS', later, names[k]) == 0
  end

  local function write(command, name, words)
    if #words > 0 then
      redis.call(command, name, unpack(words))
    end
    if #words > 0 and command == 'HSET' and redis.call('HLEN', name) * 2 == #words then
      -- It is new.  The server searches a small hash from one end to the other, which costs more than all else here; a
      -- field of more than 64 bytes makes it one that looks up.  This one is no text, so no group and no id of ours; of
      -- another client it may be, and is let be.
      local long = string.rep('\255', 65)
      if redis.call('HSETNX', name, long, '') == 1 then
        redis.call('HDEL', name, long)
      end
    end
  end

  -- What a rate, and probes, mean for the group: whether it waits for a token or a probe, and nobody knew.
  local function ration(k)
    local most = rate_of(k) and rate_of(k)[1]
    if most and (taken[k] or reset[k] or renewed and bucket(k) < most) then
      local full = time_of(most - tokens[k], k)
      redis.call('SET', base .. 'rate:' .. names[k], string.format('%.17g %.0f', tokens[k], now), 'PX', full)
    end
    if thirsty[k] and not empty[k] then
      return redis.call('ZADD', rated, thirsty[k], names[k]) == 1
    end
    quenched[#quenched + 1] = names[k]
  end

  -- Write all that was noted; whether somebody should be told, of a task or of a time.
  function self.settle()
    local counted, gone, headed, headless, told = {}, {}, {}, {}, false
    self.read()
    for k = 1, #names do
      if close(k) then
        gone[#gone + 1] = known[k] and names[k] or nil
      elseif tonumber(known[k]) ~= slots[k] then
        counted[#counted + 1], counted[#counted + 2] = names[k], slots[k]
      end
      if not head[k] then
        headless[#headless + 1] = was[k] and names[k] or nil
      elseif head[k] ~= was[k] then
        headed[#headed + 1], headed[#headed + 2] = names[k], head[k]
      end
      told = (rate_of(k) or opens[k]) and ration(k) or told
    end
    local joining = {unpack(joined, gone_on + 1)}
    write('HDEL', holders, freed)
    write('HSET', holders, held)
    write('HDEL', holders, lost)
    write('HDEL', groups, gone)
    write('HSET', groups, counted)
    write('HDEL', heads, headless)
    write('HSET', heads, headed)
    write('ZREM', rated, quenched)
    write('LPUSH', turns, joining)
    return told or #joining > 0
  end

  settle = self.settle
  return self
end

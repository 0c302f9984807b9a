-- All that tells why a task, a group or the queue does not move, at one moment.
--
-- ARGV   id ('' is none), group (with an id '', the task is the next of this group; both '' is the queue),
--        ids of a list that are looked at from its right end, and from its left one, heads that are tried at the most,
--        bytes of a payload at the most
-- Reply  name and value by turns; what is not there is nil, and numbers with a fraction are texts
local id, name = ARGV[1], ARGV[2]
local right, left, most_heads, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local PENDING = '0'
local limits, probes = base .. 'limits', base .. 'probes'
local reply = {'now', now}

local function tell(what, value)
  reply[#reply + 1], reply[#reply + 2] = what, value or false
end

local function count(command, key, ...)
  return look(command, key, ...) or 0
end

local function first(key)
  return (look('ZRANGE', key, 0, 0, 'WITHSCORES') or {})[2]
end

-- The core reads limits, probes and buckets as these do: what holds something else, or cannot be read, is not there.

local function decode(text, limit, rate)
  local fine, value = pcall(cjson.decode, text or '')
  if not fine or type(value) ~= 'table' then
    return limit, rate
  end
  if type(value.concurrency) == 'number' then
    limit = value.concurrency > 0 and math.max(1, math.floor(value.concurrency)) or math.huge
  end
  if type(value.rate) == 'table' then
    local starts, period = tonumber(value.rate[1]) or 0, tonumber(value.rate[2]) or 0
    rate = starts >= 1 and starts < 2 ^ 53 and period > 0 and period <= 1e13 and {starts, period} or rate
  elseif value.rate == 0 then
    rate = false
  end
  return limit, rate
end

local function probe_of(name)
  local text = redis.pcall('HGET', probes, name)
  local instant, every = string.match(type(text) == 'string' and text or '', '^(%d+) ([1-9]%d*)$')
  instant, every = tonumber(instant), tonumber(every)
  if instant and instant - every > now then
    instant = now
  end
  return instant, every
end

local function limits_of(group, limit, rate)
  local text = redis.pcall('HGET', limits, group)
  return decode(type(text) == 'string' and text or '', limit, rate)
end

local any_limits = redis.call('EXISTS', limits, base .. 'paused') > 0
local default_limit, default_rate = math.huge, false
if any_limits then
  default_limit, default_rate = limits_of('', math.huge, false)
end

local function tokens_of(group, rate)
  local text, starts, period = redis.pcall('GET', base .. 'rate:' .. group), unpack(rate)
  local rest, since = string.match(type(text) == 'string' and text or '', '^(%S+) (%d+)$')
  rest, since = math.max(0, tonumber(rest) or starts), math.min(tonumber(since) or now, now)
  return math.min(starts, rest + (now - since) * starts / period)
end

-- What a group has, and whether it may go on.
local function view(group)
  local it = {slots = tonumber(look('HGET', 'groups', group) or '0') or 0, head = look('HGET', 'heads', group)}
  if it.slots ~= it.slots and not found_broken.groups then
    -- Nothing can be compared with what is no number.
    found_broken.groups, broken[#broken + 1] = true, 'groups'
  end
  it.limit, it.rate = default_limit, default_rate
  if any_limits then
    local limit, rate = limits_of(group)
    it.own_limit, it.own_rate = limit ~= nil, rate ~= nil
    it.limit = limit or default_limit
    if rate ~= nil then
      it.rate = rate
    end
    -- The second is for all groups of a shard that is shut, as those are that groups come to.
    it.halted = count('SISMEMBER', 'paused', group) == 1 or count('SISMEMBER', 'paused', '\255') == 1
  end
  if it.halted then
    it.opens, it.every = probe_of(group)
  end
  it.shut = it.halted and not (it.opens and it.opens <= now)
  if it.rate then
    it.tokens = tokens_of(group, it.rate)
    it.dry = it.tokens < 1 - 1e-9
    it.token_at = now + math.max(1, math.ceil((1 - it.tokens) * it.rate[2] / it.rate[1]))
  end
  return it
end

local function tell_group(group, it)
  tell('group', group)
  tell('slots', it.slots == it.slots and math.max(-2 ^ 53, math.min(2 ^ 53, it.slots)) or 0)
  tell('limit', string.format('%.17g', it.limit))
  tell('own_limit', it.own_limit)
  tell('starts', it.rate and string.format('%.17g', it.rate[1]))
  tell('period', it.rate and string.format('%.17g', it.rate[2]))
  tell('own_rate', it.own_rate)
  tell('tokens', it.tokens and string.format('%.17g', it.tokens))
  tell('dry', it.dry)
  tell('token_at', it.token_at)
  tell('halted', it.halted)
  tell('shut', it.shut)
  tell('opens', it.opens)
  tell('every', it.every)
  tell('head', it.head)
end

-- Heads in the order in which claims pop them.  Where `turns` is lost, the next claim pushes those that it finds first.
local turns = count('LLEN', 'turns')
local lost_turns = redis.call('EXISTS', base .. 'turns') == 0 and redis.call('EXISTS', base .. 'heads') == 1

local function next_heads(number)
  local popped, items = {}, nil
  if lost_turns then
    items = (look('HSCAN', 'heads', 0, 'COUNT', 100) or {false, {}})[2]
    for j = 2, #items, 2 do
      popped[#popped + 1] = items[j]
    end
    return popped
  end
  items = number > 0 and look('LRANGE', 'turns', -number, -1) or {}
  for j = #items, 1, -1 do
    popped[#popped + 1] = items[j]
  end
  return popped
end

-- Whether a claim that pops this id hands a task of its group out.
local function would_go(head)
  local known = redis.pcall('HMGET', state .. head, 'status', 'group')
  if known.err or known[1] ~= PENDING or not known[2] then
    return false
  end
  local it = view(known[2])
  if it.head ~= head and (it.head or look('HGET', 'holders', head) ~= known[2]) then
    return false
  end
  return not it.shut and not it.dry and it.slots <= it.limit and count('HEXISTS', 'tasks', head) == 1
end

-- How many of the next heads would go, and how many were tried: ten that would are enough to know.
local function try(number)
  local going, tried = 0, 0
  for _, head in ipairs(next_heads(math.min(number, most_heads))) do
    if tried == number or going == 10 then
      break
    end
    tried = tried + 1
    going = going + (would_go(head) and 1 or 0)
  end
  tell('going', going)
  tell('tried', tried)
end

-- Where an id is in a list, from its right end; nil where it was not met.
local function place_in(key, length, wanted)
  local found = look('LPOS', key, wanted, 'RANK', -1, 'MAXLEN', right)
  if not found and length > right and left > 0 then
    found = look('LPOS', key, wanted, 'MAXLEN', left)
  end
  return found and length - 1 - found
end

-- The queue

local tasks, delayed = count('HLEN', 'tasks'), count('ZCARD', 'delayed')
local working = count('ZCARD', 'working') + count('ZCARD', 'away')
local plain, holes, ranked = count('LLEN', 'pending'), count('SCARD', 'holes'), count('ZCARD', 'priority')
local headed = count('HLEN', 'heads')
tell('tasks', tasks)
tell('working', working)
tell('delayed', delayed)
tell('dead', count('ZCARD', 'dead'))
tell('waiting', count('ZCARD', 'waiting'))
tell('spread', count('LLEN', 'spread'))
tell('plain', plain)
tell('holes', holes)
tell('ranked', ranked)
tell('urgent', ranked > 0 and count('ZCOUNT', 'priority', '-inf', '(0') or 0)
turns = lost_turns and headed or turns
tell('turns', turns)
tell('groups', count('HLEN', 'groups'))
-- Each id in `turns` is a head that goes: no pause, no limit, and no hole.
local simple = not any_limits and not lost_turns and turns == headed
tell('simple', simple)
local seq = look('GET', 'seq') or '0'
if not string.match(seq, '^%-?%d+$') then
  broken[#broken + 1] = 'seq'
end
tell('bit', (tonumber(seq) or 0) % 2)
tell('rung', redis.call('EXISTS', base .. 'bell') == 1)
tell('stopped', count('SISMEMBER', 'paused', '') == 1)
tell('paused', count('SCARD', 'paused'))
local probe_at, probe_every = probe_of('')
tell('probe', probe_at)
tell('probe_every', probe_every)
tell('first_working', first('working'))
tell('first_delayed', first('delayed'))
tell('first_rated', first('rated'))
tell('workers', redis.call('EXISTS', base .. 'workers') == 1)
tell('acts', redis.call('EXISTS', base .. 'acts') == 1)
tell('totals', redis.call('EXISTS', base .. 'totals') == 1)
tell('schedules', redis.call('EXISTS', base .. 'schedules') == 1)

-- The group that was asked for, and its next task

local function order_of(one)
  local found = redis.pcall('HGET', state .. one, 'order')
  return tonumber(type(found) == 'string' and found or nil) or 0
end

local function group_of(one)
  local found = redis.pcall('HGET', state .. one, 'group')
  return type(found) == 'string' and found
end

local asked = id == '' and name ~= '' and view(name)
if asked then
  local next = look('ZRANGE', 'group:' .. name, 0, 0, 'WITHSCORES') or {}
  id = asked.head or next[1] or ''
  if asked.head and next[1] and tonumber(next[2]) <= order_of(asked.head) then
    id = next[1]
  end
  tell('next', id)
  tell('later', look('HGET', 'later', name))
  if id == '' then
    tell_group(name, asked)
  end
end

-- The task

local known = nil
if id ~= '' then
  known = redis.pcall('HMGET', state .. id, 'status', 'timeout', 'enqueue_time', 'dequeue_count', 'last_dequeue_time',
    'last_requeue_time', 'ready_time', 'release_time', 'order', 'group', 'priority', 'error', 'flow',
    'total', 'queue', 'errand', 'tries', 'told_time')
  if known.err then
    tell('spoilt', true)
    known = {false}
  end
  tell('state', known)
  tell('left', redis.call('PTTL', state .. id))
  local size = look('HSTRLEN', 'tasks', id)
  tell('payload', size and size <= most_bytes and look('HGET', 'tasks', id))
  tell('stored', count('HEXISTS', 'tasks', id) == 1)
  tell('lease_end', look('ZSCORE', 'working', id))
  tell('due', look('ZSCORE', 'delayed', id))
  tell('died', look('ZSCORE', 'dead', id))
  tell('gives_up', look('ZSCORE', 'waiting', id))
  tell('away', look('ZSCORE', 'away', id))
end

local function tell_of_plain()
  local at = place_in('pending', plain, id)
  tell('at', at)
  tell('hole', holes > 0 and count('SISMEMBER', 'holes', id) == 1)
  if at and holes > 0 and at > 0 and at <= 1000 then
    local among = 0
    for _, found in ipairs(look('SMISMEMBER', 'holes', unpack(look('LRANGE', 'pending', -at, -1)))) do
      among = among + found
    end
    tell('holes_before', among)
  end
  if not simple then
    try(turns)
  end
end

local function tell_of_member(group, order)
  local it = asked or view(group)
  local key = 'group:' .. group
  local member, owner = look('ZSCORE', key, id), look('HGET', 'holders', id)
  if not it.head and not member and owner == group then
    -- The core takes such a task for the head, because `heads` may have been evicted.
    it.head = id
  end
  tell_group(group, it)
  tell('member', member)
  tell('rated', look('ZSCORE', 'rated', group))
  if it.head and it.head ~= id then
    local status = redis.pcall('HGET', state .. it.head, 'status')
    tell('head_lost', status ~= PENDING)
  end
  order = tonumber(member or nil) or order or 0
  local index = count('ZCOUNT', key, '-inf', string.format('(%.17g', order))
  index = index + (it.head and it.head ~= id and order_of(it.head) < order and 1 or 0)
  tell('index', index)
  if not it.head or it.shut or it.dry or it.slots > it.limit then
    return
  end
  -- Where `turns` is lost the order in which the next claim finds the heads is nobody's.
  local at = lost_turns and headed == 1 and 0 or not lost_turns and place_in('turns', turns, it.head)
  tell('at', at)
  if not simple then
    try(index == 0 and at or turns)
    tell('lost', lost_turns)
  end
end

if known and known[1] == PENDING then
  local next = next_heads(1)[1]
  local owner = next and (group_of(next) or look('HGET', 'holders', next))
  if owner then
    -- Where this key holds something else the next claim fails, whatever it is for.
    look('ZCARD', 'group:' .. owner)
  end
  local order = tonumber(known[9] or nil)
  if known[10] then
    tell_of_member(known[10], order)
  elseif known[9] then
    tell('at', look('ZRANK', 'priority', id))
    if not simple and (order or 0) >= 0 then
      try(turns)
    end
  else
    tell_of_plain()
  end
elseif known and known[10] then
  tell_group(known[10], asked or view(known[10]))
end

-- Some groups that have tasks which are pending, where it is the queue that was asked for: first those that are paused
-- or wait for a token, then others, of which a thousand are looked at.

local function look_at_groups()
  local some, met, looked_at = {}, {}, 0

  local function consider(group)
    if group == '' or met[group] or #some == 25 then
      return
    end
    met[group], looked_at = true, looked_at + 1
    local waits, head = count('ZCARD', 'group:' .. group), look('HGET', 'heads', group)
    if waits > 0 or head then
      local it = view(group)
      local why = it.shut and 'shut' or it.slots >= it.limit and 'full' or it.dry and 'dry' or 'free'
      some[#some + 1] = {group, waits, head, why, it.opens or it.token_at or false}
    end
  end

  for _, group in ipairs((look('SSCAN', 'paused', 0, 'COUNT', 25) or {false, {}})[2]) do
    consider(group)
  end
  for _, group in ipairs(look('ZRANGE', 'rated', 0, 24) or {}) do
    consider(group)
  end
  local cursor = '0'
  repeat
    local found = look('HSCAN', 'groups', cursor, 'COUNT', 100) or {'0', {}}
    cursor = found[1]
    for j = 1, #found[2], 2 do
      consider(found[2][j])
    end
  until cursor == '0' or #some == 25 or looked_at >= 1000
  tell('some', some)
  tell('looked_at', looked_at)
  tell('all_groups', cursor == '0')
end

if id == '' and name == '' and plain <= holes and ranked == 0 and not (simple and turns > 0) then
  look_at_groups()
  try(turns)
end

tell('broken', broken)
return reply

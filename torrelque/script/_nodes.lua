-- Nodes: new tasks of a flow, looked up all together before the first of them is written.
--@ Keys tasks, waiting, working

-- Options as of a task that is enqueued, from their text, which many may have in common.
local known_options = {}
-- Whether a caller goes by fewer shards than groups are divided among by now; see `enqueue`.
local goes_by_old, least_keyed = false, nil
local function options_of(text)
  if not known_options[text] then
    local given = string.byte(text) == string.byte('{') and cjson.decode(text) or {timeout = text}
    known_options[text] = given
    if given.keyed then
      least_keyed = least_keyed or tonumber(redis.call('HGET', base .. 'growth', 'keyed')) or 0
      goes_by_old = goes_by_old or given.keyed < least_keyed
    end
  end
  return known_options[text]
end

local function is_stale()
  return goes_by_old
end

-- Look up ids that are to be new: which of them the flow has already, by id, or the outcome of the first that cannot be
-- taken in.  `flow` is false where it is new itself.
local function look_up_all(several, flow)
  local there = {}
  local unended = flow and redis.call('HMGET', base .. 'needs:' .. flow, unpack(several)) or {}
  local ended = flow and redis.call('HMGET', base .. 'done:' .. flow, unpack(several)) or {}
  for k, id in ipairs(several) do
    local status = not (unended[k] or ended[k]) and redis.pcall('HGET', state .. id, 'status')
    there[id] = unended[k] or ended[k]
    if type(status) == 'table' then
      return nil, 'broken'
    elseif status and (status ~= CANCELLED or redis.call('ZSCORE', working, id)) then
      return nil, {'duplicate', id}
    end
  end
  return there
end

-- Write nodes, all of them waiting; each has its `id`, `payload`, options `given`, for how many ends it `needs` to wait
-- (as in `needs:F`), its own `mark`, `last` where it cleans up, and `kept` where its final state is kept.
local function write_nodes(nodes, flow)
  local payloads, needs, places = {}, {}, {}
  for k, node in ipairs(nodes) do
    local given, key = node.given, state .. node.id
    -- What most tasks do not have, a script need not look for.
    local tied = node.kept and 3 or (given.group or given.priority or given.delay or given.queue) and 4 or 2
    local words = {'status', WAITING, 'timeout', given.timeout, 'enqueue_time', stamp, 'flow', flow, 'tied', tied}
    local function add(name, value)
      if value then
        words[#words + 1], words[#words + 2] = name, value
      end
    end
    add('max_attempts', given.max_attempts)
    add('group', given.group)
    add('priority', given.priority)
    add('delay', given.delay)
    add('mark', node.mark)
    add('last', node.last and 1)
    add('queue', given.queue)
    -- An older state of the id, which is final, is dropped.
    if redis.call('HSET', key, unpack(words)) < #words / 2 then
      redis.call('DEL', key)
      redis.call('HSET', key, unpack(words))
    end
    local n = 2 * k - 1
    payloads[n], payloads[n + 1] = node.id, node.payload
    needs[n], needs[n + 1] = node.id, node.needs == '0' and 1 or node.needs
    places[n], places[n + 1] = '+inf', node.id
  end
  redis.call('HSET', tasks, unpack(payloads))
  redis.call('HSET', base .. 'needs:' .. flow, unpack(needs))
  redis.call('ZADD', waiting, unpack(places))
  if redis.call('HLEN', base .. 'needs:' .. flow) > 50 then
    -- The server searches a small hash from one end to the other, and gives all of it to one HSCAN, until it has had a
    -- field of more than 64 bytes: so there is one for a moment, as in the book of groups.
    local long = string.rep('\255', 65)
    if redis.call('HSETNX', base .. 'needs:' .. flow, long, '') == 1 then
      redis.call('HDEL', base .. 'needs:' .. flow, long)
    end
  end
end

-- Grow: a flow gets tasks that wait for some that it has, and others that wait for these.
--@ Keys tasks, dead
--@ Uses flow (flows), nodes (known_options, goes_by_old, least_keyed, options_of, is_stale, look_up_all, write_nodes)
-- Successors of one task at the most: their list is read for each piece of it.
local MOST_SUCCESSORS = 10000

-- Fields of a hash of a flow, by their names: many in a call, because each call costs more than what it reads.
local function fields_of(hash, flow, names)
  local found = {}
  for i = 1, #names, 1000 do
    local last = math.min(i + 999, #names)
    local values = redis.call('HMGET', base .. hash .. flow, unpack(names, i, last))
    for k = i, last do
      found[names[k]] = values[k - i + 1]
    end
  end
  return found
end

-- The task that has taken the place of one, and so on to the last; the task itself where none has.  `done` is what
-- `done:F` has of it.
--
-- The id of an heir begins with that of the task, so that nobody comes back to one, whatever was written by hand.
local function heir_of(id, flow, done)
  while done and string.sub(done, 1, #id + 2) == '>' .. id .. '.' do
    id = string.sub(done, 2)
    done = redis.call('HGET', base .. 'done:' .. flow, id)
  end
  return id
end

-- How tasks of a flow stand, by id: 'w' has not ended, 'd' dead, or how they ended; and those that still wait.
local function stand(several, flow)
  local hows, waits = {}, {}
  local lefts, dones = fields_of('needs:', flow, several), fields_of('done:', flow, several)
  for _, id in ipairs(several) do
    local left, done = lefts[id], dones[id]
    hows[id] = left and (left == 'dead' and 'd' or 'w') or
      done and (string.byte(done) == 33 and string.sub(done, 2, 2) or 'c')
    waits[id] = left and left ~= '0' and left ~= 'dead' and left
  end
  return hows, waits
end

-- The nodes of a call of which the first begins at an argument, see `add.lua`, but for those that the flow has already;
-- these, as `look_up_all` has them; ids that the nodes name besides one another.  Or nil, and why they cannot be taken in.
local function nodes_from(first, flow)
  local ids, nodes, named, seen, others = {}, {}, {}, {}, {}
  for i = first, #ARGV, 6 do
    ids[#ids + 1] = ARGV[i]
  end
  local there, denied = {}, nil
  if ids[1] then
    there, denied = look_up_all(ids, flow)
  end
  if denied then
    return nil, denied
  end
  for i = first, #ARGV, 6 do
    local id = ARGV[i]
    if not there[id] then
      seen[id] = true
      local after, before = cjson.decode(ARGV[i + 4]), cjson.decode(ARGV[i + 5])
      nodes[#nodes + 1] = {id = id, payload = ARGV[i + 1], given = options_of(ARGV[i + 2]), any = ARGV[i + 3] == '1',
        after = after, before = before}
      for k = 1, #after, 2 do
        others[#others + 1] = not seen[after[k]] and after[k] or nil
      end
      for k = 1, #before, 2 do
        named[#named + 1] = before[k]
      end
    end
  end
  if is_stale() then
    return nil, 'stale'
  end
  local dones = flow and fields_of('done:', flow, others) or {}
  for _, node in ipairs(nodes) do
    for k = 1, others[1] and #node.after or 0, 2 do
      local id = node.after[k]
      if dones[id] ~= nil then
        node.after[k] = heir_of(id, flow, dones[id])
        named[#named + 1] = node.after[k]
      end
    end
  end
  return nodes, there, named
end

-- Whether so many more tasks would be too many for the queue: the outcome that says so.
local function too_many(count, max_tasks)
  local size = max_tasks and redis.call('HLEN', tasks) - redis.call('ZCARD', dead)
  return size and size + count > max_tasks and {'full', size}
end

-- Add nodes to a flow.  `hows` and `waits` are as `stand` gives them, of all ids that the nodes name.  A node has
-- besides what `write_nodes` takes: `any`, `after` and `before` (id and kind by turns).  Nothing is written where an
-- outcome is returned, which is not 'ok': {'missing' | 'begun' | 'many' | 'cycle', id}.
local function grow(flow, nodes, hows, waits)
  local edges, ends, more, befores = {}, {}, {}, {}
  for _, node in ipairs(nodes) do
    for k = 1, #node.after, 2 do
      befores[#befores + 1] = hows[node.after[k]] and node.after[k] or nil
    end
  end
  local known = fields_of('edges:', flow, befores)
  local function connect(from, to, kind)
    edges[from] = edges[from] or known[from] and cjson.decode(known[from]) or {}
    local list = edges[from][kind] or {}
    list[#list + 1], edges[from][kind] = to, list
    return #list <= MOST_SUCCESSORS
  end
  local holds = false
  for _, node in ipairs(nodes) do
    holds = holds or node.before[1] ~= nil
  end
  for _, node in ipairs(nodes) do
    local open, count, met, barred, how = 0, #node.after / 2, 0, nil, nil
    local others = {}
    node.last = count > 0
    for k = 1, #node.after, 2 do
      local id, kind = node.after[k], node.after[k + 1]
      if not hows[id] then
        return {'missing', id}
      elseif holds and waits[id] then
        return {'cycle', id}
      end
      local fits = flows.fits(kind, hows[id])
      if fits then
        met = met + 1
      elseif fits == false then
        barred, how = id, how == 'f' and how or hows[id]
      else
        open, others[#others + 1], others[#others + 2] = open + 1, id, kind
      end
      node.last = node.last and kind == 'end'
    end
    -- What begins already, because one end is enough, has nothing to learn from the others.
    for k = 1, node.any and met > 0 and 0 or #others, 2 do
      if not connect(others[k], node.id, others[k + 1]) then
        return {'many', others[k]}
      end
    end
    local begins = node.any and (met > 0 or count == 0) or not node.any and met == count
    local skips = not begins and (node.any and open == 0 or not node.any and barred)
    -- The gate counts for one end, which is enough for a task that has had one of those that it waits for.
    node.needs = (node.any and count > 0 and 'a' or '') .. math.max(begins and 1 or open, 1)
    ends[#ends + 1] = {node.id, begins, skips and how, barred}
    for k = 1, #node.before, 2 do
      local id = node.before[k]
      if not hows[id] or not waits[id] then
        return {hows[id] and 'begun' or 'missing', id}
      end
      more[id] = (more[id] or 0) + 1
      connect(node.id, id, node.before[k + 1])
    end
    hows[node.id] = 'w'
  end

  write_nodes(nodes, flow)
  local words = {}
  for id, lists in pairs(edges) do
    words[#words + 1], words[#words + 2] = id, cjson.encode(lists)
  end
  for i = 1, #words, 1000 do
    redis.call('HSET', base .. 'edges:' .. flow, unpack(words, i, math.min(i + 999, #words)))
  end
  for id, count in pairs(more) do
    local any, left = string.match(waits[id], '^(a?)(%d+)$')
    redis.call('HSET', base .. 'needs:' .. flow, id, (any or '') .. (tonumber(left) or 0) + count)
  end
  redis.call('HINCRBY', state .. flow, 'total', #nodes)
  flows.touch(flow)
  local first = {}
  for _, item in ipairs(ends) do
    if item[2] then
      first[#first + 1] = item[1]
    elseif item[3] then
      flows.skip(item[1], flow, item[3], item[4] .. ' has not come to the end it waits for')
    end
  end
  flows.begin_all(first, flow)
  return 'ok'
end

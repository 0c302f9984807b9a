-- working -> waiting | completed
--
-- Graft: tasks take the place of one that its caller holds, and that ends by this.  In a flow they come to the flow, and
-- what waits for the end of the task waits for that of the last of them from now on.  A task that has no flow becomes one,
-- of these tasks.
--
-- ARGV   resent, max_tasks ('' is no limit), id, token ('' is unfenced), id of the last, payload of a flow that the task
--        becomes, what is said of that, a JSON object: "ttl", "on_failure", "name", "timeout" as in `flow`
--        per task: as in `add`
-- Reply  'ok' when they have taken its place (or had, by whichever call that named the same last), else a list with one of
--        these; but for 'cancelled' nothing was changed:
--        'ok'             they have taken its place
--        'cancelled'      the task, or its flow, was cancelled meanwhile; the task is cleared away now
--        'lease_lost'     someone else holds or held the task since
--        'not_working'    settled already, or not handed out
--        'unknown'        forgotten, or never enqueued
--        'no_flow'        its flow is not in this queue, has ended, or was lost
--        'duplicate', id  as a list: the queue knows the id
--        'full', size     as a list: the queue has that many tasks, dead ones not counted
--        'missing', id    as a list: the flow has no task of that id
--        'many', id       as a list: it would have more than 10,000 successors
--        'stale'          groups may be in other shards by now, of which its caller is to learn
--        'broken'         the key of a state holds something else
--@ Keys working, tasks, waiting
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), judge, ring, clear, forget
--@ Uses flow (flows), nodes (known_options, goes_by_old, least_keyed, options_of, is_stale, look_up_all, write_nodes)
--@ Uses grow (MOST_SUCCESSORS, fields_of, heir_of, stand, nodes_from, too_many, grow)
local max_tasks, T, last, meta = tonumber(ARGV[2]), ARGV[3], ARGV[5], cjson.decode(ARGV[7])
local key = state .. T
local known = redis.pcall('HMGET', key, 'status', 'dequeue_count', 'last_dequeue_time', 'group', 'flow', 'tied',
  'enqueue_time', 'grafted')
local outcome, group, flow = judge(known, ARGV[4]), known[4], (known[6] == '2' or known[6] == '4') and known[5]

-- Whether the task has ended within a flow by giving its place to the same one.  Its id begins with that of its flow.
local function is_grafted()
  local stop = string.find(T, '.', 1, true)
  while stop do
    if redis.call('HGET', base .. 'done:' .. string.sub(T, 1, stop - 1), T) == '>' .. last then
      return true
    end
    stop = string.find(T, '.', stop + 1, true)
  end
end

-- Have what waits for the end of the task wait for that of the last one, which may have ended itself, where it was added
-- by a call before.
local function hand_over()
  local edges, heir = base .. 'edges:' .. flow, heir_of(last, flow, redis.call('HGET', base .. 'done:' .. flow, last))
  local how, text = stand({heir}, flow)[heir], redis.call('HGET', edges, T)
  if not text then
    return
  elseif how ~= 'w' and how ~= 'd' then
    return flows.go_on({T, flow, how, 0})
  end
  local own, its = cjson.decode(text), cjson.decode(redis.call('HGET', edges, heir) or '{}')
  redis.call('HDEL', edges, T)
  if how == 'd' then
    -- See `flows.died`: these are told of a death, once.
    flows.go_on({T, flow, 'd', 0, {['end'] = own['end'], fail = own.fail}})
    own = {['then'] = own['then']}
  end
  for kind, several in pairs(own) do
    its[kind] = its[kind] or {}
    for _, id in ipairs(several) do
      table.insert(its[kind], id)
    end
  end
  if next(its) then
    redis.call('HSET', edges, heir, cjson.encode(its))
  end
end

-- Make a flow of the task itself.  Its counts stay, because they go down in no life of a task.
local function become_flow()
  local expires = meta.timeout and string.format('%.0f', now + meta.timeout)
  redis.call('HDEL', key, 'group', 'priority', 'order', 'delay', 'progress', 'error', 'history', 'max_attempts')
  if known[6] == '1' then
    redis.call('HDEL', key, 'tied')
  end
  redis.call('HSET', key, 'status', WAITING, 'timeout', 0, 'ttl', meta.ttl, 'on_failure', meta.on_failure, 'out',
    cjson.encode({last}), 'grafted', ARGV[4])
  for name, value in pairs({name = meta.name, expires = expires or nil}) do
    redis.call('HSET', key, name, value)
  end
  redis.call('DEL', base .. 'done:' .. T, base .. 'values:' .. T)
  redis.call('HSET', tasks, T, ARGV[6])
  redis.call('ZADD', waiting, expires or '+inf', T)
end

local goes_on = flow and redis.call('HGET', state .. flow, 'status')
if outcome == 'ok' and flow and (not goes_on or goes_on == COMPLETED or goes_on == REJECTED) then
  -- A task that its flow has gone on without may be redriven when that has ended.
  return {'no_flow'}
elseif outcome == 'ok' and flow and goes_on ~= WAITING then
  -- The flow was cancelled, and the task is about to be.
  outcome = 'cancelled'
end
if outcome == 'cancelled' then
  clear(T, group, known[6] and known[6] ~= '1' and known[5])
  redis.call('HSET', key, 'status', CANCELLED)
elseif outcome ~= 'ok' then
  local before = outcome ~= 'broken' and (known[8] == ARGV[4] or is_grafted())
  return before and 'ok' or {outcome}
else
  local nodes, there, named = nodes_from(8, flow)
  if not nodes then
    return {there}
  end
  local full, is_new = too_many(#nodes - (flow and 1 or 0), max_tasks), false
  for _, node in ipairs(nodes) do
    is_new = is_new or node.id == last
  end
  if full then
    return {full}
  elseif not is_new and not there[last] then
    return {{'missing', last}}
  end
  local grown = nodes[1] and grow(flow or T, nodes, stand(named, flow or T)) or 'ok'
  if grown ~= 'ok' then
    return {grown}
  end
  redis.call('ZREM', working, T)
  if group then
    book().free(T, group)
  end
  if flow then
    redis.call('HDEL', tasks, T)
    redis.call('DEL', key)
    -- A task that its flow goes on without, and that was redriven, has ended already.
    if redis.call('HDEL', base .. 'needs:' .. flow, T) == 1 then
      redis.call('HSET', base .. 'done:' .. flow, T, '>' .. last)
      flows.touch(flow)
      flows.guard(flow, hand_over)
    end
  else
    become_flow()
  end
end
local begun = flows.go(noted)
if settle() or begun then
  ring()
end
forget()

return outcome == 'ok' and 'ok' or {outcome}

-- new -> waiting | pending | delayed
--
-- Take in a task that waits for others.  It joins their flow; where they have none, one is made of them, of which nothing
-- is kept.  Where one of them has failed already the task is cancelled at once.
--
-- ARGV   resent, max_tasks ('' is no limit), a new id for a flow, mark, id, payload, options as of a task that is enqueued
--        per task that it waits for: id
-- Reply  'ok' when it is in (or was, when this is a call sent twice), else a list with one of these:
--        'ok'             it is in
--        'duplicate', id  as a list: the queue knows the id
--        'full', size     as a list: the queue has that many tasks, dead ones not counted
--        'missing', id    as a list: the queue knows nothing of a task that it is to wait for
--        'apart', id      as a list: that one is of another flow than those before it
--        'circle', id     as a list: that one is a flow which goes on until this task has ended
--        'withdrawn', id  as a list: the flow of that one was cancelled
--        'foreign', id    as a list: the flow of that one is of another queue
--        'many', id       as a list: that one would have more than 10,000 successors
--        'stale'          groups may be in other shards by now, of which its caller is to learn
--        'broken'         the key of a state holds something else
--@ Keys tasks, dead, working
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), marks (marked, with_mark), ring
--@ Uses flow (flows), nodes (known_options, goes_by_old, least_keyed, options_of, is_stale, look_up_all, write_nodes), grow (MOST_SUCCESSORS, fields_of, heir_of, stand, nodes_from, too_many, grow)
local max_tasks, fresh, mark, id = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local given = options_of(ARGV[7])
local before = redis.pcall('HMGET', state .. id, 'status', 'mark')
if before.err then
  return {'broken'}
elseif before[1] and marked(before[2], mark) then
  return 'ok'
elseif before[1] and (before[1] ~= CANCELLED or redis.call('ZSCORE', working, id)) then
  return {{'duplicate', id}}
end
if is_stale() then
  return {'stale'}
end
local full = too_many(1, max_tasks)
if full then
  return {full}
end

-- A task that has ended within a flow, of which nothing else is left: that flow.  As a rule, the id begins with that of
-- its flow, and a full stop.
local function home(other)
  local stop = string.find(other, '.', 1, true)
  while stop do
    local name = string.sub(other, 1, stop - 1)
    if redis.call('HEXISTS', base .. 'done:' .. name, other) == 1 then
      return name
    end
    stop = string.find(other, '.', stop + 1, true)
  end
end

local flow, hows, strays, after = nil, {}, {}, {}
for i = 8, #ARGV do
  local other = ARGV[i]
  local known = redis.pcall('HMGET', state .. other, 'status', 'flow', 'total')
  if known.err then
    return {'broken'}
  end
  local status, its = known[1], known[2] or not known[1] and home(other)
  local goes_on = known[3] and redis.call('EXISTS', base .. 'needs:' .. other) == 1
  local final = status == COMPLETED or status == REJECTED or status == CANCELLED and not goes_on and
    not redis.call('ZSCORE', working, other)
  if its and redis.call('HEXISTS', base .. 'guests', other) == 1 then
    -- A guest is of the flow at its home, which would never learn of its end.
    return {{'foreign', other}}
  elseif its then
    other = heir_of(other, its, redis.call('HGET', base .. 'done:' .. its, other))
    hows[other] = stand({other}, its)[other]
    if redis.call('HGET', state .. its, 'status') == WAITING then
      if flow and flow ~= its then
        return {{'apart', other}}
      end
      flow = its
    elseif hows[other] == 'w' or hows[other] == 'd' then
      return {{'withdrawn', other}}
    end
  end
  if not hows[other] then
    if not status then
      return {{'missing', other}}
    elseif final then
      hows[other] = status == COMPLETED and 'c' or 'f'
    else
      hows[other] = status == DEAD and 'd' or 'w'
      strays[#strays + 1] = other
    end
  end
  after[#after + 1], after[#after + 2] = other, 'then'
end

-- A flow that is waited for must not be one that waits for this task to end.  Whatever was written by hand, a flow is looked
-- at once.
for _, other in ipairs(strays) do
  local above, met = flow, {}
  while above and not met[above] do
    if above == other then
      return {{'circle', other}}
    end
    met[above], above = true, redis.call('HGET', state .. above, 'flow')
  end
end

-- See Memory: the first write of all is one that is refused.
local made = not flow
flow = flow or fresh
if made then
  redis.call('HSET', state .. flow, 'status', WAITING, 'timeout', 0, 'enqueue_time', stamp, 'total', 0, 'left', 0,
    'ttl', 0, 'on_failure', 'wait')
  redis.call('HSET', tasks, flow, '')
  redis.call('ZADD', waiting, '+inf', flow)
end
local node = {id = id, payload = ARGV[6], given = given, after = after, before = {}, mark = mark, kept = true}
local outcome = grow(flow, {node}, hows, {})
if outcome ~= 'ok' then
  -- Only a list that is full can be in the way here, and a flow that was just made has none.
  return {outcome}
end
for _, other in ipairs(strays) do
  local died = hows[other] == 'd'
  redis.call('HSET', state .. other, 'flow', flow, 'tied', 3)
  redis.call('HSET', base .. 'needs:' .. flow, other, died and 'dead' or 0)
  redis.call('HINCRBY', state .. flow, 'total', 1)
  if died then
    redis.call('HINCRBY', state .. flow, 'dead', 1)
  end
end
local begun = flows.go({})
if settle() or begun then
  ring()
end

return 'ok'

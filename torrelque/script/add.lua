-- new -> waiting | pending | delayed
--
-- Add tasks to the flow of a task that its caller holds.  Those that it has already, or has had, are left as they are.
--
-- ARGV   resent, max_tasks ('' is no limit), the id of that task, token ('' is unfenced)
--        per task: id, payload, options as of a task that is enqueued, '1' if one end is enough ('' is all), JSON of ids
--        and kinds by turns: those that it waits for; the same of those that still wait, and wait for it, too.  A task
--        comes behind those of this call that it waits for.
-- Reply  'ok' when all of them are in, else a list with one of these, and nothing was changed:
--        'ok'             all of them are in
--        'not_held'       the caller does not hold that task
--        'no_flow'        that task has no flow
--        'over'           its flow was cancelled
--        'away'           its flow is of another queue
--        'duplicate', id  as a list: the queue knows the id
--        'full', size     as a list: the queue has that many tasks, dead ones not counted
--        'missing', id    as a list: the flow has no task of that id
--        'begun', id      as a list: it is to wait for a new one, and does not wait any more
--        'cycle', id      as a list: one is to wait for it that others, which wait already, are to wait for
--        'many', id       as a list: it would have more than 10,000 successors
--        'stale'          groups may be in other shards by now, of which its caller is to learn
--        'broken'         the key of a state holds something else
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), acting, ring
--@ Uses flow (flows), nodes (known_options, goes_by_old, least_keyed, options_of, is_stale, look_up_all, write_nodes), grow (MOST_SUCCESSORS, fields_of, heir_of, stand, nodes_from, too_many, grow)
local max_tasks = tonumber(ARGV[2])
local known = redis.pcall('HMGET', state .. ARGV[3], 'status', 'dequeue_count', 'last_dequeue_time', 'flow',
  'queue', 'fence')
local outcome, flow = acting(ARGV[3], known, ARGV[4]), known[4]
if outcome ~= 'ok' then
  return {outcome == 'broken' and outcome or 'not_held'}
elseif not flow then
  return {'no_flow'}
elseif redis.call('HGET', state .. flow, 'status') ~= WAITING then
  return {redis.call('HEXISTS', base .. 'guests', ARGV[3]) == 1 and 'away' or 'over'}
end

local nodes, there, named = nodes_from(5, flow)
if not nodes then
  return {there}
end
local full = nodes[1] and too_many(#nodes, max_tasks)
if full then
  return {full}
elseif nodes[1] then
  outcome = grow(flow, nodes, stand(named, flow))
end
local begun = flows.go({})
if settle() or begun then
  ring()
end

return outcome == 'ok' and 'ok' or {outcome}

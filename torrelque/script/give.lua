-- Give: keep a named value with a flow, for its other tasks, by a task of it that its caller holds.
--
-- ARGV   resent, the id of that task, token ('' is unfenced), name, value
-- Reply  'ok' when it is kept, else a list with one of these:
--        'ok'        it is kept
--        'not_held'  the caller does not hold that task
--        'no_flow'   that task has no flow
--        'over'      its flow has ended
--        'away'      its flow is of another queue
--        'broken'    the key of its state holds something else
--@ Uses acting
local known = redis.pcall('HMGET', state .. ARGV[2], 'status', 'dequeue_count', 'last_dequeue_time', 'flow', 'queue', 'fence')
local outcome = acting(ARGV[2], known, ARGV[3])
if outcome ~= 'ok' then
  return {outcome == 'broken' and outcome or 'not_held'}
elseif not known[4] then
  return {'no_flow'}
elseif redis.call('EXISTS', base .. 'needs:' .. known[4]) == 0 then
  return {redis.call('HEXISTS', base .. 'guests', ARGV[2]) == 1 and 'away' or 'over'}
end
redis.call('HSET', base .. 'values:' .. known[4], ARGV[4], ARGV[5])

return 'ok'

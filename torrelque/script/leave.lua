-- The bell: a consumer leaves it, perhaps rung and with no use for it, and makes sure that somebody else hears.
--
-- Keys   paused, turns, priority
-- Uses   time, ring, tend
-- ARGV   resent, record of a claim whose reply has come ('' is none), block (ms)
-- Reply  'ok'
if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
local halted = redis.call('SISMEMBER', paused, '') == 1
tend(not halted and redis.call('EXISTS', pending, turns, priority) > 0, false, tonumber(ARGV[3]), true, false)

return 'ok'

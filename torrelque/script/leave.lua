-- The bell: a consumer leaves it, and has somebody else hear.
--
-- It may have taken a ring for which it has no use: somebody else is to hear of the work, and keep the time.
--
-- ARGV   resent, record of a claim whose reply has come ('' is none), block (ms)
-- Reply  'ok'
--@ Keys paused, turns, priority, delayed
--@ Uses time (now, stamp, fraction), probe (probe_of, next_probe), coming (next_coming)
if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
local more, probe = redis.call('EXISTS', pending, turns, priority) > 0, nil
if more and redis.call('SISMEMBER', paused, '') == 1 then
  probe = probe_of('')
  more = probe and probe <= now
end
local coming, next_due = next_coming(), tonumber(redis.call('ZRANGE', delayed, '0', '0', 'WITHSCORES')[2])
local other, rung = not more and probe, nil
other = coming and math.min(coming, other or math.huge) or other
local staying, block, rates, written, micros = false, ARGV[3] + 0, true, false, string.sub(fraction, 4)
--@ Uses tend (until_due)

return 'ok'

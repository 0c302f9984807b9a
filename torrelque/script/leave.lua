-- The bell: a consumer leaves it, perhaps rung and with no use for it, and makes sure that somebody else hears.
--
-- Uses   ring, tend
-- ARGV   resent, record of a claim whose reply has come ('' is none), block (ms)
-- Reply  'ok'
if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
tend(false, tonumber(ARGV[3]), true, redis.call('SISMEMBER', paused, '') == 1)

return 'ok'

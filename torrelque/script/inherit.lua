-- Inherit: take over limits and pauses of groups that come to this queue, until all of them are there.
--
-- ARGV   resent, '1' if these are the last ('' is not)
--        per group: name, limits ('' is none), '1' if it is paused ('' is not), its probe ('' is none)
-- Reply  'ok'
--@ Keys growth, limits, paused, probes
if redis.call('HEXISTS', growth, 'given') == 1 then
  return 'ok'
end
for i = 3, #ARGV, 4 do
  if ARGV[i + 1] ~= '' then
    redis.call('HSET', limits, ARGV[i], ARGV[i + 1])
  end
  if ARGV[i + 2] ~= '' then
    redis.call('SADD', paused, ARGV[i])
  end
  if ARGV[i + 3] ~= '' then
    redis.call('HSET', probes, ARGV[i], ARGV[i + 3])
  end
end
if ARGV[2] == '1' then
  redis.call('HSET', growth, 'given', '1')
end

return 'ok'

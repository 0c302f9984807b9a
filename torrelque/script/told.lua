-- Deaths that nobody saw: some were told of.
--
-- A task that was brought back since, and is dead anew, has another token.
--
-- ARGV   resent
--        per task: id, token of the delivery in which it died
-- Reply  'ok'
--@ keys untold
for i = 2, #ARGV, 2 do
  local known = redis.pcall('HMGET', state .. ARGV[i], 'dequeue_count', 'last_dequeue_time')
  if (known[1] or '0') .. '-' .. (known[2] or '') == ARGV[i + 1] then
    redis.call('ZREM', untold, ARGV[i])
  end
end

return 'ok'

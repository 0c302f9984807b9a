-- Deaths that nobody saw: somebody was told of some of them, so they are not handed out again.
--
-- A task that was brought back meanwhile and died anew has another token: the note of its later death stays.
--
-- ARGV   resent
--        per task: id, token of the delivery in which it died
-- Reply  'ok'
--@ Keys untold
for i = 2, #ARGV, 2 do
  local known = redis.pcall('HMGET', state .. ARGV[i], 'dequeue_count', 'last_dequeue_time')
  if (known[1] or '0') .. '-' .. (known[2] or '') == ARGV[i + 1] then
    redis.call('ZREM', untold, ARGV[i])
  end
end

return 'ok'

-- Fence: refuse, from now on, whoever goes by fewer shards for groups and ids.
--
-- ARGV   resent, among how many shards they are divided, the number of this one
-- Reply  'ok'
--@ Keys growth
if (tonumber(redis.call('HGET', growth, 'keyed')) or 0) < tonumber(ARGV[2]) then
  redis.call('HSET', growth, 'keyed', ARGV[2], 'number', ARGV[3])
end

return 'ok'

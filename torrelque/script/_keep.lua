-- Keep the final state of a task that is released for a while; `k` is where the arguments of its call begin.
local function keep_state(k)
  local key, result = state .. ARGV[k], ARGV[k + 3]
  local status, ttl = string.match(ARGV[k + 2], '^(%d+) (%d+)$')
  redis.call('HSET', key, 'status', status, 'release_time', stamp)
  if result ~= '' then
    redis.call('HSET', key, 'result', string.sub(result, 2))
  end
  redis.call('PEXPIRE', key, ttl)
end

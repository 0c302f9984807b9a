-- Note: a queue was seen now; queues that nobody has seen for 30 days are forgotten.
--
-- KEYS   the registry
-- ARGV   name of the queue
-- Reply  'ok'
local KEPT = 30 * 86400
local now = redis.call('TIME')[1]
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - KEPT)
redis.call('EXPIRE', KEYS[1], KEPT)
return 'ok'

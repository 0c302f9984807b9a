-- Statistics: how many tasks are in each place, read at one moment.
--
-- Keys   tasks, working, delayed, dead
-- ARGV   resent
-- Reply  'ok', tasks, working, delayed, dead; the rest is pending
return {'ok', redis.call('HLEN', tasks), redis.call('ZCARD', working), redis.call('ZCARD', delayed),
  redis.call('ZCARD', dead)}

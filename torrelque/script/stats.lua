-- Statistics: how many tasks are in each place, read at one moment.
--
-- ARGV   resent
-- Reply  'ok', tasks, working (here, or for a flow of this queue in another one), delayed, dead, waiting; the rest is
--        pending
--@ Keys tasks, working, away, delayed, dead, waiting
return {'ok', redis.call('HLEN', tasks), redis.call('ZCARD', working) + redis.call('ZCARD', away),
  redis.call('ZCARD', delayed),
  redis.call('ZCARD', dead), redis.call('ZCARD', waiting)}

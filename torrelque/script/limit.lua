-- Limits: how many tasks of a group are worked on at once, and how many begin in a time.
--
-- ARGV   resent, group ('' is the default of all), value ('' is none of its own, else a JSON object with any of
--        "concurrency": tasks (0 is no limit), "rate": [starts, ms] (0 is no limit)), '1' if the group may have come to another shard
-- Reply  'ok'
--@ Keys limits, rated
--@ Uses groups (book, settle), ring
if ARGV[4] == '1' and ARGV[2] ~= '' then
  --@ Uses refuse
  local error = refuse(ARGV[2])
  if error then
    return error
  end
end
local group, value = ARGV[2], ARGV[3]

if value == '' then
  redis.call('HDEL', limits, group)
else
  redis.call('HSET', limits, group, value)
end
if group ~= '' then
  redis.call('ZREM', rated, group)
  book().meet(group)
  book().renew()
end
if settle() then
  ring()
end

return 'ok'

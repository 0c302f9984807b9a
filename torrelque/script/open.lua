-- Open: hand out tasks of groups, and look at some of these anew.
--
-- ARGV   resent, where to go on among the groups ('0' at first)
-- Reply  'ok', where to go on ('0' is nowhere)
--@ Keys growth, groups, paused
--@ Uses groups (book, settle), ring
if redis.call('HGET', growth, 'shut') == '1' then
  redis.call('HSET', growth, 'shut', '2')
  redis.call('SREM', paused, '\255')
end
local page = redis.call('HSCAN', groups, ARGV[2], 'COUNT', 50)
for k = 1, #page[2], 2 do
  book().meet(page[2][k])
end
if settle() then
  ring()
end

return {'ok', page[1]}

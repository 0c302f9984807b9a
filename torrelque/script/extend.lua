-- Extend a schedule by instants behind the last one that is known.
--
-- ARGV   resent, block (ms), mark, name, the last instant that is known (ms, '' is none), what the schedule was made
--        from (JSON, '' is nothing), instants at the most, then instants (ms), ascending
-- Reply  'ok' when they are there, else a list with one of these:
--        'ok'       they are there
--        'changed'  the last instant is another one, or the schedule was made from something else
--        'unknown'  there is no such schedule, or it needs no instants
--@ Uses time (now, stamp, fraction), ring, plan, marks (marked, with_mark)
local mark, name = ARGV[3], ARGV[4]
local key, times = base .. 'schedule:' .. name, base .. 'times:' .. name
local known = redis.call('HMGET', key, 'payload', 'every', 'spec', 'last', 'extended', 'since')
if not known[1] or known[2] and known[2] ~= '' then
  return {'unknown'}
elseif marked(known[5], mark) then
  return 'ok'
elseif (known[3] or '') ~= ARGV[6] or (redis.call('LINDEX', times, -1) or '') ~= ARGV[5] then
  return {'changed'}
end
-- What was over when it was set, or has been due already, is over though its instant is given again.
local behind = math.max(tonumber(ARGV[5]) or 0, tonumber(known[4]) or 0, tonumber(known[6]) or 0)
local fresh, room = {}, tonumber(ARGV[7]) - redis.call('LLEN', times)
for k = 8, #ARGV do
  if tonumber(ARGV[k]) > behind and #fresh < room then
    fresh[#fresh + 1] = ARGV[k]
  end
end
redis.call('HSET', key, 'extended', with_mark(known[5], mark))
if #fresh > 0 then
  redis.call('RPUSH', times, unpack(fresh))
end
if plan(name, true, tonumber(ARGV[2])) then
  ring()
end

return 'ok'

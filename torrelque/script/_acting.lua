-- Acting: whether the caller acts for a task that it holds, of which `known` has what `judge` takes, then its flow, its
-- queue, where that is another one, and the highest attempt by which anybody has acted for it.
--
-- Of a task that is worked on elsewhere nobody here knows who holds it.  So an attempt is refused once a later one was
-- heard of; that of a caller is the first part of its token.
--
-- As `judge`.
--@ Uses judge
local function acting(id, known, token)
  local attempt = tonumber(string.match(token, '^(%d+)%-'))
  if known.err or not known[5] or known[1] ~= WORKING or not attempt then
    return judge(known, token)
  elseif attempt < (tonumber(known[6]) or 0) then
    return 'lease_lost'
  end
  redis.call('HSET', state .. id, 'fence', attempt)
  return 'ok'
end

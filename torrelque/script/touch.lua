-- working -> working
--
-- Move the deadline of leases, and write down how far the work is.
--
-- ARGV   resent, record of a claim whose reply has come ('' is none), block (ms)
--        per task: id, token ('' is unfenced), lease from now (ms, '' is the task's own),
--        progress ('' is none, else '=' and its bytes)
-- Reply  'ok' when each lease is renewed, else a list with one of these per task:
--        'ok'            renewed, even where the lease had run out and nobody had noticed
--        'cancelled'     the task was cancelled: stop, and settle it to clear it away
--        'lease_lost'    someone else holds or held the task since
--        'not_working'   settled already, or not handed out
--        'unknown'       forgotten, or never enqueued
--        'broken'        the key of its state holds something else
--@ Keys working
--@ Uses time (now, stamp, fraction), judge, ring, answer (answer, outcomes, refused)
local rung = false

if ARGV[2] ~= '' then
  redis.call('DEL', ARGV[2])
end
for i = 4, #ARGV, 4 do
  local id, lease, progress = ARGV[i], ARGV[i + 2], ARGV[i + 3]
  local known = redis.pcall('HMGET', state .. id, 'status', 'dequeue_count', 'last_dequeue_time', 'timeout')
  local outcome = judge(known, ARGV[i + 1])
  if outcome == 'ok' then
    lease = tonumber(lease) or tonumber(known[4]) or 300000
    if not (lease >= 0 and lease <= 1e13) then
      -- As in `hand`: nobody can mean that.
      lease = 300000
    end
    -- See Memory.
    redis.call('ZREM', working, id)
    redis.call('ZADD', working, now + lease, id)
    if progress ~= '' then
      redis.call('HSET', state .. id, 'progress', string.sub(progress, 2))
    end
    rung = rung or lease <= tonumber(ARGV[3])
  end
  answer(outcome)
end

if rung then
  ring()
end

return refused and outcomes or 'ok'

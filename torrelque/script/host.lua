-- Host: take in tasks of flows of other queues, as pending ones.
--
-- ARGV   resent, max_tasks ('' is no limit)
--        per task: id, number, errand ('host' takes it in, and so does 'redrive' where all of it was lost; after 'cancel' it
--        is not taken in any more), name of its home, flow, stay, payload, options as of a task that is enqueued, a JSON
--        object with the number of the last news that its home has, "heard", besides
-- Reply  'ok' when each task is in, else a list with one of these per task:
--        'ok'             it is in, or was before
--        'gone'           it has ended, or must not come any more
--        'duplicate', id  as a list: the queue knows the id, of another task
--        'full', size     as a list: the queue has that many tasks, dead ones not counted
--        'broken'         the key of its state holds something else
--@ Keys tasks, dead, working, guests, outbox
--@ Uses time (now, stamp, fraction), groups (book, settle), place, enter, append, ring
--@ Uses noted, abroad (send_out, write_letter, guest_of, tell_home), answer (answer, outcomes, refused)
local max_tasks, fresh, rung = tonumber(ARGV[2]), {}, false
-- The name of the queue of which this one is a shard, in its tag; nil where it is none.
local queue = string.match(base, '^(.*):%d[%d.]*}:$')

local function take_in(id, i, home, flow, stay)
  local given = cjson.decode(ARGV[i + 7])
  -- See Memory: the first write of all is one that is refused.
  redis.call('HSET', guests, id, cjson.encode({home, flow, stay, given.heard}))
  -- What is left of a task that had the id before.
  redis.call('DEL', base .. 'letter:' .. id, state .. id)
  redis.call('ZREM', outbox, id)
  enter(id, ARGV[i + 6], given, fresh)
  redis.call('HSET', state .. id, 'flow', flow, 'tied', given.group and 4 or 2)
  rung = rung or given.priority and not given.group
end

for i = 3, #ARGV, 8 do
  local id, errand, home, flow, stay = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5]
  local status = redis.pcall('HGET', state .. id, 'status')
  local guest = guest_of(id)
  local here = guest and guest[1] == home and guest[3] == stay
  local letter = redis.call('HMGET', base .. 'letter:' .. id, 'home', 'stay', 'news')
  local outcome = 'ok'
  if type(status) == 'table' then
    outcome = 'broken'
  elseif letter[1] == home and letter[2] == stay and letter[3] == 'ended' then
    outcome = 'gone'
  elseif here and (status or redis.call('HEXISTS', tasks, id) == 1) then
    outcome = 'ok'
  elseif errand == 'cancel' then
    outcome = 'gone'
    write_letter(id, {home, flow, stay, cjson.decode(ARGV[i + 7]).heard}, 'ended', '!f cancelled')
  elseif status and (status ~= CANCELLED or redis.call('ZSCORE', working, id)) or
      redis.call('HEXISTS', tasks, id) == 1 then
    outcome = {'duplicate', id}
  else
    local size, group = max_tasks and redis.call('HLEN', tasks) - redis.call('ZCARD', dead), cjson.decode(ARGV[i + 7]).group
    local gone = false
    if group and queue then
      --@ Uses share (home_of, home_of_group, divided, strayed)
      -- That of this queue was asked before its groups were opened elsewhere; see `left`.
      gone = string.match(home, '^(.*):[%d.]+}$') ~= queue and strayed(group)
    end
    if gone then
      outcome = 'gone'
      write_letter(id, {home, flow, stay, cjson.decode(ARGV[i + 7]).heard}, 'ended',
        '!f its group is in another shard by now')
    elseif size and size >= max_tasks then
      outcome = {'full', size}
    else
      take_in(id, i, home, flow, stay)
    end
  end
  answer(outcome)
end

append(fresh)
if settle() or fresh[1] or rung or noted.out then
  ring()
end

return refused and outcomes or 'ok'

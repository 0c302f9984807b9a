-- working -> pending | dead, delayed -> pending, new -> pending, waiting -> cancelled
--
-- Bring back what is due, one bounded batch: tasks whose lease has run out, tasks whose time has come, and groups
-- that waited for a token or a probe.  A lease that has run out is a failed attempt.  Enqueue what schedules have due,
-- and cancel flows whose time is over.
--
-- ARGV   resent, tasks of each kind at the most; tasks of groups, and groups, are 50 at the most together
-- Reply  'ok', stale, delayed, dead (how many went each way), whether anything due may be left (1 or 0),
--        list of id and trouble by turns: 'state_lost' (the task is dead now) | 'payload_lost' | 'lost',
--        list of the schedules that have fired and have few instants left, how many tasks schedules have enqueued,
--        whether there may be work for `spread`, whether there is something to `collect` (1 or 0)
--@ Keys working, delayed, rated, schedules, waiting, outbox
--@ Uses time (now, stamp, fraction)
-- Most sweeps find nothing, and are over here.
local batch = tonumber(ARGV[2])
local ended = redis.call('ZRANGEBYSCORE', working, '-inf', stamp, 'LIMIT', 0, batch)
local ripe = redis.call('ZRANGEBYSCORE', delayed, '-inf', stamp, 'LIMIT', 0, batch)
local besides = redis.call('EXISTS', rated, schedules, waiting, outbox) > 0
if not (ended[1] or ripe[1] or besides) then
  return {'ok', 0, 0, 0, 0, {}, {}, 0, 0, 0}
end

--@ Uses noted, groups (book, settle), clear, forget, bury (bury, used_up), mend, place
--@ Uses append, ring
local stale, due, died, ready, troubles, rung = 0, 0, 0, {}, {}, false
-- `room` is how many tasks of groups, which take longer, this call may still bring back; `unfinished` whether anything
-- due may be left.
local room, unfinished = 50, false

-- Put a task that was worked on or delayed where it waits.
local function pend(id, known)
  if known[2] then
    redis.call('HSET', state .. id, 'status', PENDING, 'last_requeue_time', stamp, 'requeue_count',
      (tonumber(known[5]) or 0) + 1)
  else
    redis.call('HSET', state .. id, 'status', PENDING, 'ready_time', stamp)
  end
  if known[6] then
    if known[2] then
      book().free(id, known[6])
    else
      book().delay(known[6], -1)
    end
  end
  place(id, known[6], known[7], ready)
  rung = rung or not known[6]
end

-- Take ids that are due out of a key, and give to `each` the tasks whose status is that of the key.
local function come(from, ids, status, each)
  for _, id in ipairs(ids) do
    if room == 0 then
      break
    end
    local known = redis.pcall('HMGET', state .. id, 'status', 'dequeue_count', 'forgiven', 'max_attempts',
      'requeue_count', 'group', 'order', 'flow')
    if known[6] or known[8] then
      room = room - 1
    end
    if not known.err and known[1] == CANCELLED and from == working then
      clear(id, known[6], known[8])
      stale = stale + 1
    else
      redis.call('ZREM', from, id)
      if known.err or not known[1] then
        troubles[#troubles + 1], troubles[#troubles + 2] = id, mend(id, known)
        local owner = book().owner(id)
        if owner then
          book().free(id, owner)
        end
      elseif known[1] == status then
        each(id, known)
      end
    end
  end
  unfinished = unfinished or #ids == batch or room == 0
end

come(working, ended, WORKING, function(id, known)
  --@ Uses remember
  remember(id, 'its lease ran out')
  if used_up(known[2], known[3], known[4]) then
    bury(id, '', 'its lease ran out, its attempts are used up')
    died = died + 1
    if known[8] then
      noted[#noted + 1] = {'died', id, known[8]}
    end
    if known[6] then
      book().free(id, known[6])
    end
  else
    pend(id, known)
    stale = stale + 1
  end
end)
come(delayed, ripe, DELAYED, function(id, known)
  pend(id, known)
  due = due + 1
end)
room = math.min(room, batch)
-- Names of the groups whose token or probe is due, or of any when the clock went back.
local thirsty, back, low, given_up, work, scheduled = {}, false, {}, {}, false, 0
if besides then
  thirsty = redis.call('ZRANGEBYSCORE', rated, '-inf', stamp, 'LIMIT', 0, room)
  if room > 0 and (#thirsty > 0 or redis.call('EXISTS', rated) == 1) then
    --@ Uses late
    back = late()
    thirsty = back and redis.call('ZRANGE', rated, 0, room - 1) or thirsty
  end
  given_up = redis.call('ZRANGEBYSCORE', waiting, '-inf', stamp, 'LIMIT', 0, batch)
  unfinished = unfinished or #given_up == batch
  --@ Keys spread
  work = redis.call('EXISTS', spread) == 1
  for _, id in ipairs(given_up) do
    redis.call('ZREM', waiting, id)
    local status = redis.pcall('HGET', state .. id, 'status')
    if status == WAITING then
      redis.call('HSETNX', state .. id, 'error', 'its time is over')
    end
    if status == WAITING or type(status) == 'table' then
      noted[#noted + 1] = {'cancel', id}
    end
  end
  if redis.call('EXISTS', schedules) == 1 then
    --@ Uses fire (fire, fire_due, start, moved)
    local left
    scheduled, left, low = fire_due(ready)
    rung, unfinished = rung or scheduled > 0, unfinished or left
  end
end
if #thirsty > 0 then
  redis.call('ZREM', rated, unpack(thirsty))
  if back then
    redis.call('ZUNIONSTORE', rated, 1, rated, 'WEIGHTS', 0)
  end
  for _, name in ipairs(thirsty) do
    book().meet(name)
  end
end

append(ready)
local begun = false
if noted[1] then
  --@ Uses flow (flows)
  begun = flows.go(noted)
end
if settle() or rung or begun then
  ring()
end
if ended[1] then
  forget()
end
if noted.out then
  ring()
end

local out = (besides or noted.out) and redis.call('ZCOUNT', outbox, '-inf', stamp) +
  redis.call('ZCOUNT', base .. 'away', '-inf', stamp) or 0

return {'ok', stale, due, died, (unfinished or #thirsty >= room) and 1 or 0, troubles, low,
  scheduled, (work or begun) and 1 or 0, out > 0 and 1 or 0}

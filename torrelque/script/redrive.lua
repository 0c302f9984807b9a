-- dead -> pending
--
-- Bring dead tasks back to the end of the queue, or to their order; their attempts begin anew.
--
-- ARGV   resent, mark, flow ('' is any task; else its tasks are looked at, and one whose state was lost ends as failed),
--        '1' if their groups may have come to other shards
--        per task: id
-- Reply  'ok' when each task is pending again, else a list with one of these per task:
--        'ok'         pending again
--        'state_lost' pending again, and nothing was known of it but its payload
--        'lost'       of the flow that was named: its state was lost, so it has ended as failed
--        'flow'       it is a flow that goes on: its tasks are to be redriven by their ids
--        'not_dead'   it is somewhere else
--        'staged'     its group is in another shard, so it is on the stage, to be put there
--        'stale'      the same, but it is of a flow, which stays here: it is dead still
--        'unknown'    forgotten, or never enqueued
--        'broken'     the key of its state holds something else
--@ Keys dead, untold
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), marks (marked, with_mark), mend, place, append, ring
--@ Uses answer (answer, outcomes, refused)
local mark, of_flow = ARGV[2], ARGV[3]
-- `revived` has the ids that this call has brought back: a task that is named twice is dead only once.
local ready, revived, rung = {}, {}, false
-- Of a shard: whether a task belongs to another one by now, and what puts it onto the stage.  A guest is brought back where
-- its home knows it.
local leaves, put_off = nil, nil
if ARGV[4] == '1' then
  --@ Uses stage (to_stage)
  function leaves(id, group)
    return group and strayed(group) and redis.call('HEXISTS', base .. 'guests', id) == 0
  end
  function put_off(id)
    to_stage(id)
  end
end

for i = 5, #ARGV do
  local id = ARGV[i]
  local known = redis.pcall('HMGET', state .. id, 'status', 'dequeue_count', 'mark', 'group', 'order', 'flow', 'total')
  local outcome = 'ok'
  -- No other script looks at a dead task, so a state that was lost is found here.
  if (known.err or not known[1]) and redis.call('ZREM', dead, id) == 1 then
    redis.call('ZREM', untold, id)
    outcome = mend(id, known)
    known = {outcome == 'state_lost' and DEAD, false, false, false, false, redis.call('HGET', state .. id, 'flow')}
  elseif (known.err or not known[1]) and of_flow ~= '' and redis.call('HEXISTS', base .. 'needs:' .. of_flow, id) == 1 then
    outcome = 'lost'
    noted[#noted + 1] = {'lost', id, of_flow}
  end
  if outcome == 'lost' then
    revived[id] = true
  elseif known.err then
    outcome = 'broken'
  elseif not known[1] then
    outcome = resent and leaves and redis.call('HEXISTS', base .. 'stage', id) == 1 and 'staged' or 'unknown'
  elseif revived[id] then
    outcome = 'not_dead'
  elseif (resent or known[1] == DEAD) and marked(known[3], mark) then
    revived[id] = true
  elseif known[7] and known[1] == WAITING then
    outcome = 'flow'
  elseif known[1] == WORKING and not known[2] and known[6] then
    -- It stands for a task of another queue, which may be dead there, or lost.
    local there = redis.call('HGET', base .. 'needs:' .. known[6], id) == 'dead'
    if there or of_flow ~= '' then
      --@ Uses abroad (send_out, write_letter, guest_of, tell_home)
      send_out(id, 'redrive', stamp)
    end
    outcome = there and 'ok' or 'not_dead'
  elseif known[1] ~= DEAD then
    outcome = 'not_dead'
  elseif known[6] and leaves and leaves(id, known[4]) then
    outcome = 'stale'
  else
    revived[id] = true
    redis.call('ZREM', dead, id)
    redis.call('ZREM', untold, id)
    redis.call('HSET', state .. id, 'status', PENDING, 'forgiven', known[2] or 0, 'mark', with_mark(known[3], mark),
      'ready_time', stamp)
    if known[6] then
      noted[#noted + 1] = {'revived', id, known[6]}
    end
    if leaves and leaves(id, known[4]) then
      outcome = 'staged'
      put_off(id)
    else
      place(id, known[4], known[5], ready)
      rung = rung or not known[4]
    end
  end
  answer(outcome)
end

append(ready)
local begun = false
if noted[1] then
  --@ Uses flow (flows)
  begun = flows.go(noted)
end
if settle() or rung or begun or noted.out then
  ring()
end

return refused and outcomes or 'ok'

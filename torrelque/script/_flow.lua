-- Flows: tasks that wait for tasks, begun and skipped in the step in which another one ends.
--
-- A flow F is a task that nobody is handed.  `needs:F` has each of its tasks that has not ended: for how many ends it
-- waits (`aN` where one is enough), `0` once it has begun, `dead`.  A task leaves it once, so its end counts once.
-- `edges:F` has who waits for whom, by kinds, and `done:F` how each task has ended.
--
-- A call tells so many successors at the most; what is left goes to `spread`, for calls of the script of that name.
--@ Uses time (now, stamp, fraction), groups (book, settle)
local flows = {}
do
  --@ Keys waiting, tasks, delayed, spread, seq
  --@ Uses place, append
  -- `budget` is how many successors this call may still tell, `ends` has ends that are to be told: id, flow, how, how
  -- many of its successors were told, and these, where they are not in `edges:F`.  `touched` has how many tasks failed,
  -- by flow, `blamed` why the first did; `new_ones` plain tasks for `pending`.
  local budget, ends, touched, blamed, new_ones, rings = 200, {}, {}, {}, {}, false
  -- How an edge takes an end: completed, dead (which is not the end), failed, not needed, cancelled with the flow.
  -- What is not here, and no death, makes the edge impossible.
  local FITS = {
    ['then'] = {c = true},
    ['end'] = {c = true, d = true, f = true, n = true, x = true},
    fail = {d = true, f = true},
  }

  -- Whether an end satisfies an edge of a kind; nil where that is still open.
  function flows.fits(kind, how)
    if how == 'w' or how == 'd' and not FITS[kind].d then
      return nil
    end
    return FITS[kind][how] or false
  end

  -- How much of the budget is left.
  function flows.room()
    return budget
  end

  -- A flow has changed: what is left of it is to be counted.
  function flows.touch(flow, failed)
    touched[flow] = (touched[flow] or 0) + (failed or 0)
  end

  local function put_off(item, first)
    redis.call(first and 'LPUSH' or 'RPUSH', spread, cjson.encode(item))
    rings = true
  end

  -- The last line of an error, or its end.
  local function brief(text)
    return string.match(string.gsub(string.sub(text, -300), '%s+$', ''), '[^\n]*$')
  end

  -- A task has ended.  `how` is 'c' | 'f' | 'n' | 'x', as above; `value` is what `done:F` has of it: '' or '=' and its
  -- result where it has completed, else '!' and how, then a space and why, or '=' and a result.
  function flows.ended(id, flow, how, value)
    if redis.call('HDEL', base .. 'needs:' .. flow, id) == 0 then
      return
    end
    redis.call('HSET', base .. 'done:' .. flow, id, value)
    flows.touch(flow, (how == 'f' or how == 'x') and 1 or 0)
    if how == 'f' and not blamed[flow] then
      blamed[flow] = id .. ': ' .. string.sub(value, 4, 300)
    end
    ends[#ends + 1] = {id, flow, how, 0}
  end

  -- A task has failed; why it did.
  function flows.failed(id, flow, why)
    flows.ended(id, flow, 'f', '!f ' .. brief(why))
  end

  -- A task that was cancelled while it was worked on is cleared away.
  function flows.cleared(id, flow)
    local how = redis.call('HGET', state .. flow, 'status') == CANCELLED and 'x' or 'f'
    flows.ended(id, flow, how, '!' .. how .. ' cancelled')
  end

  -- A task is dead.  Only what waits for a failure, or for any end, goes on; these edges are taken out, so that they
  -- are not told again when it is redriven and ends.
  function flows.died(id, flow)
    local left = redis.call('HGET', base .. 'needs:' .. flow, id)
    if not left or left == 'dead' then
      return
    end
    local has = redis.call('HMGET', state .. flow, 'on_failure', 'status')
    local why = brief(redis.call('HGET', state .. id, 'error') or 'it is dead')
    if has[1] == 'skip' or has[1] == 'cancel' then
      flows.failed(id, flow, why)
      if has[1] == 'cancel' and has[2] == WAITING then
        flows.cancel(flow)
      end
      return
    end
    redis.call('HSET', base .. 'needs:' .. flow, id, 'dead')
    redis.call('HINCRBY', state .. flow, 'dead', 1)
    redis.call('HSET', state .. flow, 'error', id .. ': ' .. why)
    local text = redis.call('HGET', base .. 'edges:' .. flow, id)
    local edges = text and cjson.decode(text) or {}
    if edges['end'] or edges.fail then
      if edges['then'] then
        redis.call('HSET', base .. 'edges:' .. flow, id, cjson.encode({['then'] = edges['then']}))
      else
        redis.call('HDEL', base .. 'edges:' .. flow, id)
      end
      ends[#ends + 1] = {id, flow, 'd', 0, {['end'] = edges['end'], fail = edges.fail}}
    end
  end

  -- A task that was dead is not dead any more.
  function flows.revived(id, flow)
    if redis.call('HGET', base .. 'needs:' .. flow, id) == 'dead' then
      redis.call('HSET', base .. 'needs:' .. flow, id, 0)
      if redis.call('HINCRBY', state .. flow, 'dead', -1) <= 0 then
        redis.call('HDEL', state .. flow, 'error')
      end
    end
  end

  -- The state of a task was lost, or holds something else: it ends as failed.
  function flows.lost(id, flow)
    redis.call('DEL', state .. id)
    redis.call('HDEL', tasks, id)
    redis.call('ZREM', waiting, id)
    redis.call('ZREM', base .. 'away', id)
    flows.failed(id, flow, 'its state was lost')
  end

  -- Cancel a flow: its tasks are taken back by calls of `spread`, those that clean up only where `all` is true.
  function flows.cancel(flow, all)
    redis.call('HSET', state .. flow, 'status', CANCELLED)
    redis.call('ZADD', waiting, '+inf', flow)
    put_off({'', flow, 'cancel', '0', all or false}, true)
  end

  -- Begin a task, if it still waits.
  local function begin(id, flow)
    local hash = state .. id
    local has = redis.pcall('HMGET', hash, 'status', 'flow', 'group', 'priority', 'delay', 'queue')
    if has.err or not has[1] then
      return flows.lost(id, flow)
    elseif has[1] ~= WAITING or has[2] ~= flow then
      -- The state is that of another task, which has taken the id.
      return flows.failed(id, flow, 'its state was lost')
    end
    local group, urgency, delay = has[3], has[4], tonumber(has[5])
    redis.call('HSET', base .. 'needs:' .. flow, id, 0)
    redis.call('ZREM', waiting, id)
    if has[6] then
      -- Here it only stands for a task of another queue; a delay is spent before that is told.
      --@ Uses abroad (send_out, write_letter, tell_home)
      redis.call('HSET', hash, 'status', WORKING, 'ready_time', stamp)
      send_out(id, 'host', string.format('%.0f', now + (delay or 0)))
      rings = true
      return
    end
    -- As in `enqueue`: numbers go up by twos.
    local order = (group or urgency) and
      string.format('%.0f', redis.call('INCRBY', seq, 2) - (tonumber(urgency) or 0) * 2 ^ 45)
    if order then
      redis.call('HSET', hash, 'order', order)
    end
    redis.call('HSET', hash, 'status', delay and DELAYED or PENDING, 'ready_time', stamp)
    if delay then
      redis.call('ZADD', delayed, now + delay, id)
      if group then
        book().delay(group, 1)
      end
    else
      place(id, group, order, new_ones)
    end
    -- Those of groups take longer.
    budget, rings = budget - (group and 3 or 0), true
  end

  -- Begin tasks that wait for nothing, as many as the budget allows; the others stay behind the gate.
  function flows.begin_all(several, flow)
    local rest = {}
    for _, id in ipairs(several) do
      if budget > 0 then
        budget = budget - 1
        begin(id, flow)
      else
        rest[#rest + 1] = id
      end
    end
    if #rest > 0 then
      redis.call('RPUSH', base .. 'gate:' .. flow, unpack(rest))
      put_off({'', flow, 'gate', 0})
    end
  end

  -- A task that can never begin is skipped; `how` is that of its end, `by` what is to blame.
  function flows.skip(id, flow, how, by)
    local hash, why = state .. id, 'skipped: ' .. by
    how = (how == 'f' or how == 'x') and how or 'n'
    local has = redis.pcall('HMGET', hash, 'status', 'flow')
    if has[1] == WAITING and has[2] == flow then
      redis.call('ZREM', waiting, id)
      redis.call('HDEL', tasks, id)
      redis.call('HSET', hash, 'status', CANCELLED, 'release_time', stamp, 'error', why)
      redis.call('PEXPIRE', hash, 60000)
    elseif has.err or not has[1] then
      return flows.lost(id, flow)
    end
    flows.ended(id, flow, how, '!' .. how .. ' ' .. why)
  end

  -- Tell a successor of an end: it begins, is skipped, or waits on.
  local function told(id, flow, fits, how, by)
    local needs = base .. 'needs:' .. flow
    local left = redis.call('HGET', needs, id)
    if not left or left == '0' or left == 'dead' then
      return
    end
    local any = string.match(left, '^a(%d+)$')
    if any and fits or not any and fits and redis.call('HINCRBY', needs, id, -1) <= 0 then
      begin(id, flow)
    elseif any and not fits and tonumber(any) > 1 then
      redis.call('HSET', needs, id, 'a' .. any - 1)
    elseif not fits then
      flows.skip(id, flow, how, any and 'nothing that it waited for came' or by .. ' has not come to the end it waits for')
    end
  end

  -- Tell the successors of an end, as many as the budget allows.
  local function tell(item)
    local id, flow, how, cursor, edges = unpack(item)
    if budget <= 0 and not edges and redis.call('HEXISTS', base .. 'edges:' .. flow, id) == 1 then
      return put_off(item)
    end
    local text = not edges and redis.call('HGET', base .. 'edges:' .. flow, id)
    local count = 0
    edges = edges or text and cjson.decode(text) or {}
    for _, kind in ipairs({'then', 'end', 'fail'}) do
      for _, successor in ipairs(edges[kind] or {}) do
        count = count + 1
        if count > cursor and budget <= 0 then
          item[4] = count - 1
          return put_off(item)
        elseif count > cursor then
          budget = budget - 1
          told(successor, flow, FITS[kind][how] or false, how, id)
        end
      end
    end
    if text then
      redis.call('HDEL', base .. 'edges:' .. flow, id)
    end
  end

  -- Go on where a call before had no room left.
  function flows.go_on(item)
    if item[3] == 'note' then
      -- The task may have been brought back since it was found dead.
      local note = item[4]
      if note[1] ~= 'died' or redis.call('HGET', state .. note[2], 'status') == DEAD then
        flows[note[1]](unpack(note, 2))
      end
      return
    elseif item[3] ~= 'gate' then
      ends[#ends + 1] = item
      return
    end
    -- Small bites, because those of groups cost more.
    local several = {}
    repeat
      for _, id in ipairs(several) do
        local left = redis.call('HGET', base .. 'needs:' .. item[2], id)
        budget = budget - 1
        -- The gate counts for one of those that it waits for; others may have come since.
        if left and left ~= '0' and left ~= 'dead' and
            redis.call('HINCRBY', base .. 'needs:' .. item[2], id, -1) <= 0 then
          begin(id, item[2])
        end
      end
      several = budget > 0 and redis.call('LPOP', base .. 'gate:' .. item[2], math.min(budget, 10)) or {}
    until #several == 0
    if budget <= 0 and redis.call('EXISTS', base .. 'gate:' .. item[2]) == 1 then
      put_off(item)
    end
  end

  -- Count what is left of a flow, and count_left it where nothing is.
  local function count_left(flow)
    local hash, left = state .. flow, redis.call('HLEN', base .. 'needs:' .. flow)
    if touched[flow] > 0 then
      redis.call('HINCRBY', hash, 'failed', touched[flow])
    end
    if blamed[flow] then
      redis.call('HSETNX', hash, 'error', blamed[flow])
    end
    redis.call('HSET', hash, 'left', left)
    local has = left == 0 and redis.call('HMGET', hash, 'status', 'failed', 'ttl', 'flow', 'draft', 'error') or {}
    if left > 0 or has[1] == WAITING and has[5] then
      return
    end
    local well, ttl = (tonumber(has[2]) or 0) == 0, tonumber(has[3]) or 0
    if has[1] == WAITING then
      redis.call('HSET', hash, 'status', well and COMPLETED or REJECTED)
    end
    local payload = redis.call('HGET', tasks, flow)
    redis.call('ZREM', waiting, flow)
    redis.call('HDEL', tasks, flow)
    redis.call('DEL', base .. 'edges:' .. flow, base .. 'gate:' .. flow)
    if has[1] and ttl > 0 then
      redis.call('HSET', hash, 'release_time', stamp, 'payload', payload or '')
      for _, one in ipairs({hash, base .. 'done:' .. flow, base .. 'values:' .. flow}) do
        redis.call('PEXPIRE', one, ttl)
      end
    else
      redis.call('UNLINK', hash, base .. 'done:' .. flow, base .. 'values:' .. flow)
    end
    if has[4] then
      well = well and has[1] == WAITING
      flows.ended(flow, has[4], well and 'c' or 'f', well and '' or '!f ' .. (has[6] or 'cancelled'))
    end
  end

  -- Do what was noted of tasks (see `_noted.lua`), and all that comes of it: whether consumers must be rung, because a
  -- task has begun or work was put off.  It is to be done before groups are settled.
  function flows.go(notes)
    if notes[1] and redis.call('EXISTS', base .. 'guests') == 1 then
      --@ Uses abroad (send_out, write_letter, tell_home)
      tell_home(notes)
    end
    for _, note in ipairs(notes) do
      flows[note[1]](unpack(note, 2))
    end
    local i = 1
    while ends[i] or next(touched) do
      while ends[i] do
        tell(ends[i])
        i = i + 1
      end
      local names = {}
      for flow in pairs(touched) do
        names[#names + 1] = flow
      end
      for _, flow in ipairs(names) do
        count_left(flow)
        touched[flow], blamed[flow] = nil, nil
      end
    end
    append(new_ones)
    ends, new_ones = {}, {}
    return rings
  end
end

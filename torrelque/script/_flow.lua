-- Flows: tasks that wait for tasks, begun and skipped in the step in which another one ends.
--
-- A flow F is a task that nobody is handed.  `needs:F` has each of its tasks that has not ended: for how many ends it
-- waits (`aN` where one is enough), `0` once it has begun, `dead`.  A task leaves it once, so its end counts once.
-- `edges:F` has who waits for whom, by kinds, and `done:F` how each task has ended.
--
-- What ends, dies or begins is noted, and `flowing` does the rest before groups are settled: whether consumers must be
-- rung.  A call tells so many successors at the most; what is left goes to `spread`, for calls of the script of that
-- name.  As with groups, flows are opened by the first call of `flows`.
--@ Uses time (now, stamp, fraction), groups (book, settle)

-- Nothing is to be told while no flow was met.
local function flowing()
  return false
end

local function flows()
  --@ Keys waiting, tasks, delayed, spread, seq
  --@ Uses place, append
  -- `budget` is how many successors this call may still tell, `work` has ends that are to be told: id, flow, how, how
  -- many of its successors were told, and these, where they are not in `edges:F`.  `touched` has how many tasks failed,
  -- by flow, `blamed` why the first did; `begun` plain tasks for `pending`.
  local self, budget, work, touched, blamed, begun, rung = {}, 200, {}, {}, {}, {}, false
  -- How an edge takes an end: completed, dead (which is not the end), failed, not needed, cancelled with the flow.
  -- What is not here, and no death, makes the edge impossible.
  local FITS = {
    ['then'] = {c = true},
    ['end'] = {c = true, d = true, f = true, n = true, x = true},
    fail = {d = true, f = true},
  }

  -- From now on `flows` gives this one, and `flowing` (below) does what it has noted.
  function flows()
    return self
  end

  -- Whether an end satisfies an edge of a kind; nil where that is still open.
  function self.fits(kind, how)
    if how == 'w' or how == 'd' and not FITS[kind].d then
      return nil
    end
    return FITS[kind][how] or false
  end

  -- How much of the budget is left.
  function self.room()
    return budget
  end

  -- A flow has changed: what is left of it is to be counted.
  function self.touch(flow, failed)
    touched[flow] = (touched[flow] or 0) + (failed or 0)
  end

  local function put_off(item, first)
    redis.call(first and 'LPUSH' or 'RPUSH', spread, cjson.encode(item))
    rung = true
  end

  -- The last line of an error, or its end.
  local function brief(text)
    return string.match(string.gsub(string.sub(text, -300), '%s+$', ''), '[^\n]*$')
  end

  -- A task has ended.  `how` is 'c' | 'f' | 'n' | 'x', as above; `value` is what `done:F` has of it: '' or '=' and its
  -- result where it has completed, else '!' and how, then a space and why, or '=' and a result.
  function self.ended(id, flow, how, value)
    if redis.call('HDEL', base .. 'needs:' .. flow, id) == 0 then
      return
    end
    redis.call('HSET', base .. 'done:' .. flow, id, value)
    self.touch(flow, (how == 'f' or how == 'x') and 1 or 0)
    if how == 'f' and not blamed[flow] then
      blamed[flow] = id .. ': ' .. string.sub(value, 4, 300)
    end
    work[#work + 1] = {id, flow, how, 0}
  end

  -- A task has failed; why it did.
  function self.failed(id, flow, why)
    self.ended(id, flow, 'f', '!f ' .. brief(why))
  end

  -- A task is dead.  Only what waits for a failure, or for any end, goes on; these edges are taken out, so that they
  -- are not told again when it is redriven and ends.
  function self.died(id, flow)
    local left = redis.call('HGET', base .. 'needs:' .. flow, id)
    if not left or left == 'dead' then
      return
    end
    local known = redis.call('HMGET', state .. flow, 'on_failure', 'status')
    local why = brief(redis.call('HGET', state .. id, 'error') or 'it is dead')
    if known[1] == 'skip' or known[1] == 'cancel' then
      self.failed(id, flow, why)
      if known[1] == 'cancel' and known[2] == WAITING then
        self.cancel(flow)
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
      work[#work + 1] = {id, flow, 'd', 0, {['end'] = edges['end'], fail = edges.fail}}
    end
  end

  -- A task that was dead is not dead any more.
  function self.revived(id, flow)
    if redis.call('HGET', base .. 'needs:' .. flow, id) == 'dead' then
      redis.call('HSET', base .. 'needs:' .. flow, id, 0)
      if redis.call('HINCRBY', state .. flow, 'dead', -1) <= 0 then
        redis.call('HDEL', state .. flow, 'error')
      end
    end
  end

  -- The state of a task was lost, or holds something else: it ends as failed.
  function self.lost(id, flow)
    redis.call('DEL', state .. id)
    redis.call('HDEL', tasks, id)
    redis.call('ZREM', waiting, id)
    self.failed(id, flow, 'its state was lost')
  end

  -- Cancel a flow: its tasks are taken back by calls of `spread`, those that clean up only where `all` is true.
  function self.cancel(flow, all)
    redis.call('HSET', state .. flow, 'status', CANCELLED)
    redis.call('ZADD', waiting, '+inf', flow)
    put_off({'', flow, 'cancel', '0', all or false}, true)
  end

  -- Begin a task, if it still waits.
  local function begin(id, flow)
    local key = state .. id
    local known = redis.pcall('HMGET', key, 'status', 'flow', 'group', 'priority', 'delay')
    if known.err or not known[1] then
      return self.lost(id, flow)
    elseif known[1] ~= WAITING or known[2] ~= flow then
      -- The state is that of another task, which has taken the id.
      return self.failed(id, flow, 'its state was lost')
    end
    local group, urgency, delay = known[3], known[4], tonumber(known[5])
    redis.call('HSET', base .. 'needs:' .. flow, id, 0)
    redis.call('ZREM', waiting, id)
    -- As in `enqueue`: numbers go up by twos.
    local order = (group or urgency) and
      string.format('%.0f', redis.call('INCRBY', seq, 2) - (tonumber(urgency) or 0) * 2 ^ 45)
    if order then
      redis.call('HSET', key, 'order', order)
    end
    redis.call('HSET', key, 'status', delay and DELAYED or PENDING, 'ready_time', stamp)
    if delay then
      redis.call('ZADD', delayed, now + delay, id)
      if group then
        book().delay(group, 1)
      end
    else
      place(id, group, order, begun)
    end
    -- Those of groups take longer.
    budget, rung = budget - (group and 3 or 0), true
  end

  -- Begin tasks that wait for nothing, as many as the budget allows; the others stay behind the gate.
  function self.begin_all(several, flow)
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
  function self.skip(id, flow, how, by)
    local key, why = state .. id, 'skipped: ' .. by
    how = (how == 'f' or how == 'x') and how or 'n'
    local known = redis.pcall('HMGET', key, 'status', 'flow')
    if known[1] == WAITING and known[2] == flow then
      redis.call('ZREM', waiting, id)
      redis.call('HDEL', tasks, id)
      redis.call('HSET', key, 'status', CANCELLED, 'release_time', stamp, 'error', why)
      redis.call('PEXPIRE', key, 60000)
    elseif known.err or not known[1] then
      return self.lost(id, flow)
    end
    self.ended(id, flow, how, '!' .. how .. ' ' .. why)
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
      self.skip(id, flow, how, any and 'nothing that it waited for came' or by .. ' has not come to the end it waits for')
    end
  end

  -- Tell the successors of an end, as many as the budget allows.
  local function tell(item)
    local id, flow, how, cursor, edges = unpack(item)
    if budget <= 0 and not edges and redis.call('HEXISTS', base .. 'edges:' .. flow, id) == 1 then
      return put_off(item)
    end
    local text = not edges and redis.call('HGET', base .. 'edges:' .. flow, id)
    local at = 0
    edges = edges or text and cjson.decode(text) or {}
    for _, kind in ipairs({'then', 'end', 'fail'}) do
      for _, successor in ipairs(edges[kind] or {}) do
        at = at + 1
        if at > cursor and budget <= 0 then
          item[4] = at - 1
          return put_off(item)
        elseif at > cursor then
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
  function self.go_on(item)
    if item[3] ~= 'gate' then
      work[#work + 1] = item
      return
    end
    -- Small bites, because those of groups cost more.
    local several = {}
    repeat
      for _, id in ipairs(several) do
        local left = redis.call('HGET', base .. 'needs:' .. item[2], id)
        budget = budget - 1
        if left and left ~= '0' and left ~= 'dead' then
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
    local key, left = state .. flow, redis.call('HLEN', base .. 'needs:' .. flow)
    if touched[flow] > 0 then
      redis.call('HINCRBY', key, 'failed', touched[flow])
    end
    if blamed[flow] then
      redis.call('HSETNX', key, 'error', blamed[flow])
    end
    redis.call('HSET', key, 'left', left)
    local known = left == 0 and redis.call('HMGET', key, 'status', 'failed', 'ttl', 'flow', 'draft', 'error') or {}
    if left > 0 or known[1] == WAITING and known[5] then
      return
    end
    local well, ttl = (tonumber(known[2]) or 0) == 0, tonumber(known[3]) or 0
    if known[1] == WAITING then
      redis.call('HSET', key, 'status', well and COMPLETED or REJECTED)
    end
    local payload = redis.call('HGET', tasks, flow)
    redis.call('ZREM', waiting, flow)
    redis.call('HDEL', tasks, flow)
    redis.call('DEL', base .. 'edges:' .. flow, base .. 'gate:' .. flow)
    if known[1] and ttl > 0 then
      redis.call('HSET', key, 'release_time', stamp, 'payload', payload or '')
      for _, name in ipairs({key, base .. 'done:' .. flow, base .. 'values:' .. flow}) do
        redis.call('PEXPIRE', name, ttl)
      end
    else
      redis.call('UNLINK', key, base .. 'done:' .. flow, base .. 'values:' .. flow)
    end
    if known[4] then
      well = well and known[1] == WAITING
      self.ended(flow, known[4], well and 'c' or 'f', well and '' or '!f ' .. (known[6] or 'cancelled'))
    end
  end

  -- Do all that was noted: whether consumers must be rung, because a task has begun or work was put off.
  function flowing()
    local i = 1
    while work[i] or next(touched) do
      while work[i] do
        tell(work[i])
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
    append(begun)
    work, begun = {}, {}
    return rung
  end

  return self
end

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
  --@ Keys waiting
  --@ Uses place, append
  -- `budget` is how many successors this call may still tell, `ends` has ends that are to be told: id, flow, how, how
  -- many of its successors were told, and these, where they are not in `edges:F`.  `touched` has how many tasks failed,
  -- by flow, `blamed` why the first did; `new_ones` plain tasks for `pending`.
  local budget, ends, touched, blamed, new_ones, rings = 200, {}, {}, {}, {}, false
  -- A flow has changed: what is left of it is to be counted.
  function flows.touch(flow, failed)
    touched[flow] = (touched[flow] or 0) + (failed or 0)
  end

  -- Do a step that is about a flow.  Where that fails, because of what somebody has written into its keys, the call goes
  -- on with all others: a script that ends in its midst would have lost what it was to do for them.
  function flows.guard(flow, step, ...)
    local fine, why = pcall(step, ...)
    if not fine then
      flows.spoilt(flow, why)
    end
  end

  -- A task has ended.  `how` is 'c' | 'f' | 'n' | 'x', as above; `value` is what `done:F` has of it: '' or '=' and its
  -- result where it has completed, else '!' and how, then a space and why, or '=' and a result.
  function flows.ended(id, flow, how, value)
    if redis.call('HDEL', base .. 'needs:' .. flow, id) == 0 then
      return flows.missed(flow, {'ended', id, flow, how, value})
    end
    redis.call('HSET', base .. 'done:' .. flow, id, value)
    flows.touch(flow, (how == 'f' or how == 'x') and 1 or 0)
    if how == 'f' and not blamed[flow] then
      blamed[flow] = id .. ': ' .. string.sub(value, 4, 300)
    end
    ends[#ends + 1] = {id, flow, how, 0}
  end

  -- Whether an edge of a kind takes an end, or a death, which is no end; that of a task which completed is 'c'.
  local function takes(kind, how)
    return kind == 'end' or kind == 'then' and how == 'c' or kind == 'fail' and (how == 'd' or how == 'f')
  end

  -- Begin a task, if it still waits.
  local function begin(id, flow)
    local hash = state .. id
    local has = redis.pcall('HMGET', hash, 'status', 'flow', 'tied')
    if has.err or not has[1] then
      return flows.lost(id, flow)
    elseif has[1] ~= WAITING or has[2] ~= flow then
      -- The state is that of another task, which has taken the id.
      return flows.failed(id, flow, 'its state was lost')
    end
    local group, urgency, delay, elsewhere
    if has[3] ~= '2' then
      group, urgency, delay, elsewhere = unpack(redis.call('HMGET', hash, 'group', 'priority', 'delay', 'queue'))
      delay = tonumber(delay)
    end
    redis.call('HSET', base .. 'needs:' .. flow, id, 0)
    redis.call('ZREM', waiting, id)
    if elsewhere then
      -- Here it only stands for a task of another queue; a delay is spent before that is told.
      --@ Uses abroad (send_out, write_letter, guest_of, tell_home)
      redis.call('HSET', hash, 'status', WORKING, 'ready_time', stamp)
      send_out(id, 'host', string.format('%.0f', now + (delay or 0)))
      rings = true
      return
    end
    local order
    if group or urgency then
      --@ Keys seq
      -- As in `enqueue`: numbers go up by twos.
      order = string.format('%.0f', redis.call('INCRBY', seq, 2) - (tonumber(urgency) or 0) * 2 ^ 45)
      redis.call('HSET', hash, 'order', order)
    end
    redis.call('HSET', hash, 'status', delay and DELAYED or PENDING, 'ready_time', stamp)
    if delay then
      --@ Keys delayed
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

  -- Tell a successor of an end: it begins, is skipped, or waits on.  Whether it is not there yet: the flow is being made.
  local function told(id, flow, fits, how, by)
    local needs = base .. 'needs:' .. flow
    local left = redis.call('HGET', needs, id)
    if not left and redis.call('HEXISTS', state .. flow, 'draft') == 1 then
      return redis.call('HEXISTS', base .. 'done:' .. flow, id) == 0
    elseif not left or left == '0' or left == 'dead' then
      return
    end
    if fits and left == '1' then
      return begin(id, flow)
    end
    local any = string.match(left, '^a(%d+)$')
    if any and fits then
      begin(id, flow)
    elseif fits then
      redis.call('HINCRBY', needs, id, -1)
    elseif any and tonumber(any) > 1 then
      redis.call('HSET', needs, id, 'a' .. any - 1)
    else
      flows.skip(id, flow, how, any and 'nothing that it waited for came' or by .. ' has not come to the end it waits for')
    end
  end

  -- The edges that were read last: tasks that one waits for have the same.
  local last_text, last_edges

  -- Tell the successors of an end, as many as the budget allows.
  local function tell(item)
    local id, flow, how, cursor, edges = unpack(item)
    if budget <= 0 and not edges and redis.call('HEXISTS', base .. 'edges:' .. flow, id) == 1 then
      return flows.put_off(item)
    end
    local text = not edges and redis.call('HGET', base .. 'edges:' .. flow, id)
    local count = 0
    if text and text ~= last_text then
      last_text, last_edges = text, cjson.decode(text)
    end
    edges = edges or text and last_edges or {}
    local kind = 'then'
    while kind do
      local successors = edges[kind]
      for k = 1, successors and #successors or 0 do
        count = count + 1
        if count > cursor and budget <= 0 then
          item[4] = count - 1
          return flows.put_off(item)
        elseif count > cursor then
          budget = budget - 1
          if told(successors[k], flow, takes(kind, how), how, id) then
            return flows.tell_later(id, flow, how, count, edges)
          end
        end
      end
      kind = kind == 'then' and 'end' or kind == 'end' and 'fail'
    end
    if text then
      redis.call('HDEL', base .. 'edges:' .. flow, id)
    end
  end

  -- Count what is left of a flow, and finish it where nothing is.
  local function count_left(flow)
    local hash, left = state .. flow, redis.call('HLEN', base .. 'needs:' .. flow)
    if touched[flow] > 0 then
      redis.call('HINCRBY', hash, 'failed', touched[flow])
    end
    if blamed[flow] then
      redis.call('HSETNX', hash, 'error', blamed[flow])
    end
    redis.call('HSET', hash, 'left', left)
    if left == 0 then
      flows.finish(flow)
    end
  end

  --@ Uses seldom
  setmetatable(flows, seldom)

  -- Do what was noted of tasks (see `_noted.lua`), and all that comes of it: whether consumers must be rung, because a
  -- task has begun or work was put off; and whether tasks are in `pending` now that were not.  It is to be done before
  -- groups are settled.
  function flows.go(notes)
    for _, note in ipairs(notes) do
      flows.guard(note[1] == 'cancel' and note[2] or note[3], flows[note[1]], unpack(note, 2))
    end
    local i, flow = 1, nil
    repeat
      while ends[i] do
        flows.guard(ends[i][2], tell, ends[i])
        i = i + 1
      end
      flow = next(touched)
      if flow then
        flows.guard(flow, count_left, flow)
        touched[flow], blamed[flow] = nil, nil
      end
    until not flow
    append(new_ones)
    local placed = new_ones[1] ~= nil
    ends, new_ones = {}, {}
    return rings, placed
  end
end

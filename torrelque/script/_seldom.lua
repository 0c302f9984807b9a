-- Seldom: what `flows` has besides, made when the first of it is asked for.
--
-- Most calls that end a task need none of it, and functions cost most of a small call.
--@ Keys tasks, spread
local seldom = {__index = function(_, asked)
  -- The same as `takes`; nil where that is still open.
  function flows.fits(kind, how)
    if how == 'w' or how == 'd' and kind == 'then' then
      return nil
    end
    return takes(kind, how)
  end

  -- How much of the budget is left.
  function flows.room()
    return budget
  end

  function flows.put_off(item, first)
    redis.call(first and 'LPUSH' or 'RPUSH', spread, cjson.encode(item))
    rings = true
  end

  -- Keys of a flow were damaged, so that nobody knows any more what waits for what: it is cancelled, with what cleans up.
  function flows.spoilt(flow, why)
    local hash, wrong = state .. flow, false
    why = string.gsub(type(why) == 'table' and why.err or tostring(why), '^%S*user_script:%d+: ', '')
    if string.find(why, 'NOPERM') or string.find(why, 'ACL failure') or
        string.find(why, "user executing the script can't") then
      -- The caller lacks a right, whatever the keys are.
      error(why, 0)
    end
    why = string.sub(why, 1, 200)
    for _, prefix in ipairs({'task:', 'needs:', 'edges:', 'done:', 'values:', 'gate:'}) do
      local kind = redis.call('TYPE', base .. prefix .. flow).ok
      if kind ~= 'none' and kind ~= (prefix == 'gate:' and 'list' or 'hash') then
        redis.call('DEL', base .. prefix .. flow)
        wrong, why = true, prefix .. flow .. ' held something else'
      end
    end
    redis.call('DEL', base .. 'edges:' .. flow, base .. 'gate:' .. flow)
    local has = redis.call('HMGET', hash, 'status', 'error')
    why = 'its keys were damaged: ' .. why
    if has[1] == COMPLETED or has[1] == REJECTED or not wrong and has[1] == CANCELLED and has[2] == why then
      return
    elseif not has[1] then
      redis.call('HSET', hash, 'timeout', 0, 'enqueue_time', stamp, 'total', 0, 'left', 1, 'ttl', 60000)
    end
    redis.call('HSET', hash, 'failed', 0, 'dead', 0, 'error', why)
    flows.cancel(flow, true)
  end

  -- A task was not found in its flow: mostly it has ended already.  But it may be a guest, whose home is told; and where
  -- nobody knows any more who is in a flow that goes on, that is cancelled.
  function flows.missed(flow, about)
    if redis.call('EXISTS', base .. 'guests') == 1 then
      --@ Uses abroad (send_out, write_letter, guest_of, tell_home)
      tell_home({about})
    end
    if not touched[flow] and redis.call('EXISTS', base .. 'needs:' .. flow) == 0 and
        redis.call('HGET', state .. flow, 'status') == WAITING then
      flows.spoilt(flow, 'needs:' .. flow .. ' was lost')
    end
  end

  -- The last line of an error, or its end.
  local function brief(text)
    return string.match(string.gsub(string.sub(text, -300), '%s+$', ''), '[^\n]*$')
  end

  -- A task has failed; why it did.
  function flows.failed(id, flow, why)
    flows.ended(id, flow, 'f', '!f ' .. brief(why))
  end

  -- A task that was cancelled while it was worked on is cleared away.
  function flows.cleared(id, flow)
    local how = redis.pcall('HGET', state .. flow, 'status') == CANCELLED and 'x' or 'f'
    flows.ended(id, flow, how, '!' .. how .. ' cancelled')
  end

  -- A task is dead.  Only what waits for a failure, or for any end, goes on; these edges are taken out, so that they
  -- are not told again when it is redriven and ends.
  function flows.died(id, flow)
    local left = redis.call('HGET', base .. 'needs:' .. flow, id)
    if not left or left == 'dead' then
      return not left and flows.missed(flow, {'died', id})
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
    local left = redis.call('HGET', base .. 'needs:' .. flow, id)
    if not left then
      flows.missed(flow, {'revived', id})
    elseif left == 'dead' then
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

  -- Cancel a flow: its tasks are taken back by calls of `spread`, those that clean up only where `all` is true, or where
  -- nothing has begun because not all of the flow is there.  Nothing comes later then, so those that were to be told
  -- behind the gate are told behind that.
  function flows.cancel(flow, all)
    local draft = redis.call('HDEL', state .. flow, 'draft') == 1
    redis.call('HSET', state .. flow, 'status', CANCELLED)
    redis.call('ZADD', waiting, '+inf', flow)
    flows.put_off({'', flow, 'cancel', '0', all or draft}, true)
    if draft then
      flows.put_off({'', flow, 'gate', 0})
    end
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
      flows.put_off({'', flow, 'gate', 0})
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

  -- Tell these successors of an end, those from the number `first` on, when the flow is opened: what has ended so early
  -- was cancelled.
  function flows.tell_later(id, flow, how, first, edges)
    local rest, count = {how = how}, 0
    for _, kind in ipairs({'then', 'end', 'fail'}) do
      for _, successor in ipairs(edges[kind] or {}) do
        count = count + 1
        if count >= first then
          rest[kind] = rest[kind] or {}
          table.insert(rest[kind], successor)
        end
      end
    end
    redis.call('HSET', base .. 'edges:' .. flow, id, cjson.encode(rest))
    redis.call('RPUSH', base .. 'gate:' .. flow, id)
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
        local text = not left and redis.call('HGET', base .. 'edges:' .. item[2], id)
        local rest = text and cjson.decode(text)
        if rest and rest.how then
          redis.call('HDEL', base .. 'edges:' .. item[2], id)
          ends[#ends + 1] = {id, item[2], rest.how, 0, rest}
        end
        -- The gate counts for one of those that it waits for; others may have come since.
        if left and left ~= '0' and left ~= 'dead' and
            (string.byte(left) == 97 or redis.call('HINCRBY', base .. 'needs:' .. item[2], id, -1) <= 0) then
          begin(id, item[2])
        end
      end
      several = budget > 0 and redis.call('LPOP', base .. 'gate:' .. item[2], math.min(budget, 10)) or {}
    until #several == 0
    if budget <= 0 and redis.call('EXISTS', base .. 'gate:' .. item[2]) == 1 then
      flows.put_off(item)
    end
  end

  -- Finish a flow of which nothing is left, unless it is still being made.
  function flows.finish(flow)
    local hash = state .. flow
    local has = redis.call('HMGET', hash, 'status', 'failed', 'ttl', 'flow', 'draft', 'error')
    if has[1] == WAITING and has[5] then
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

  return rawget(flows, asked)
end}

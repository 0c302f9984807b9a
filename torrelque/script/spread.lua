-- Spread: go on with what calls before had no room for, of flows: ends to tell, tasks to begin or to cancel.
--
-- Tasks are cancelled in a call of their own: what begins in a call, or comes back to its group, is not in its place
-- before the end of that.
--
-- ARGV   resent
-- Reply  'ok', how much is left, whether there is something to `collect` (1 or 0)
--@ Keys spread, waiting
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), ring, marks (marked, with_mark), forget
--@ Uses flow (flows), revoke (take_out, revoke)

-- What was put off; nothing is to be done of what somebody else has written there.
local function item_of(text)
  local fine, item = pcall(cjson.decode, text)
  return fine and type(item) == 'table' and type(item[2]) == 'string' and item or {'', '', ''}
end

-- Take back a page of the tasks of a flow that have not ended, but for those that were there before it, or joined it.
-- Where nobody knows any more who these are (`lost`), those of them that wait are looked for among all that do.
local function withdraw(flow, cursor, all, lost)
  local needs = base .. 'needs:' .. flow
  lost = lost or cursor == '0' and redis.call('EXISTS', needs) == 0 and
    (redis.call('HGET', state .. flow, 'left') or '0') ~= '0'
  local reply = redis.call(lost and 'ZSCAN' or 'HSCAN', lost and waiting or needs, cursor, 'COUNT', 100)
  for k = 1, #reply[2], 2 do
    local id = reply[2][k]
    local known = redis.pcall('HMGET', state .. id, 'status', 'mark', 'group', 'order', 'dequeue_count', 'flow', 'total',
      'last', 'tied')
    if lost and known[6] ~= flow then
      -- It is of another flow, or of none.
    elseif known.err or not known[1] then
      flows.lost(id, flow)
    elseif known[1] ~= CANCELLED and (all or lost or not known[8]) and known[9] ~= '3' then
      revoke(id, known, nil, 'x')
    end
  end
  flows.touch(flow)
  if reply[1] ~= '0' then
    redis.call('LPUSH', spread, cjson.encode({'', flow, 'cancel', reply[1], all, lost}))
  end
end

local begun, count = false, 0
repeat
  local text = flows.room() > 0 and redis.call('LPOP', spread)
  local item = text and item_of(text)
  local cancels = item and item[3] == 'cancel'
  if cancels and count > 0 then
    redis.call('LPUSH', spread, text)
    break
  elseif cancels then
    flows.guard(item[2], withdraw, item[2], item[4], item[5], item[6])
  elseif item then
    flows.guard(item[2], flows.go_on, item)
  end
  begun, count = flows.go(noted) or begun, count + 1
until not item or cancels
if settle() or begun then
  ring()
end
forget()
if noted.out then
  ring()
end

local out = redis.call('ZCOUNT', base .. 'away', '-inf', stamp) + redis.call('ZCOUNT', base .. 'outbox', '-inf', stamp)
return {'ok', redis.call('LLEN', spread), out > 0 and 1 or 0}

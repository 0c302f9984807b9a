-- Spread: go on with what calls before had no room for, of flows: ends to tell, tasks to begin or to cancel.
--
-- Tasks are cancelled in a call of their own: what begins in a call, or comes back to its group, is not in its place
-- before the end of that.
--
-- ARGV   resent
-- Reply  'ok', how much is left, whether there is something to `collect` (1 or 0)
--@ Keys spread
--@ Uses time (now, stamp, fraction), groups (book, settle), ring, marks (marked, with_mark), forget
--@ Uses flow (flows), revoke (take_out, revoke)

-- Take back a page of the tasks of a flow that have not ended, but for those that were there before it, or joined it.
local function withdraw(flow, cursor, all)
  local reply = redis.call('HSCAN', base .. 'needs:' .. flow, cursor, 'COUNT', 100)
  for k = 1, #reply[2], 2 do
    local id = reply[2][k]
    local known = redis.pcall('HMGET', state .. id, 'status', 'mark', 'group', 'order', 'dequeue_count', 'flow', 'total',
      'last', 'tied')
    if known.err or not known[1] then
      flows.lost(id, flow)
    elseif known[1] ~= CANCELLED and (all or not known[8]) and known[9] ~= '3' then
      revoke(id, known, nil, 'x')
    end
  end
  flows.touch(flow)
  if reply[1] ~= '0' then
    redis.call('LPUSH', spread, cjson.encode({'', flow, 'cancel', reply[1], all}))
  end
end

local begun, count = false, 0
repeat
  local text = flows.room() > 0 and redis.call('LPOP', spread)
  local item = text and cjson.decode(text)
  local cancels = item and item[3] == 'cancel'
  if cancels and count > 0 then
    redis.call('LPUSH', spread, text)
    break
  elseif cancels then
    withdraw(item[2], item[4], item[5])
  elseif item then
    flows.go_on(item)
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

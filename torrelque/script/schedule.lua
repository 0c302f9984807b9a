-- Schedule: set one, or change it, from now on.
--
-- What was due by the one before is fired first.  What has happened, and a pause, stay.  The same schedule set again is
-- left alone, but for instants behind the last one that is known.
--
-- ARGV   resent, block (ms), mark, name, payload, options, overlap, missed, grace (ms), until (ms), every (ms),
--        phase (ms), what it was made from (JSON), source, revision (all from grace on: '' is none), instants at the
--        most, then its instants (ms), ascending
--        options are a JSON object as of a task that is enqueued, without "delay" and "mark"; "keyed" is not kept
-- Reply  'ok' when it is new or has changed, else a list with one of these:
--        'ok'       it is new, or has changed
--        'due'      more of it is due than one call fires, and nothing has changed yet: it is to be sent again
--        'same'     it was set already
--        'older'    one with a higher revision is set
--        'stale'    its group may be in another shard by now, of which its caller is to learn
--@ Keys limits
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), ring, append, fire (fire, fire_due, start, moved)
--@ Uses plan
local mark, name = ARGV[3], ARGV[4]
local key, times = base .. 'schedule:' .. name, base .. 'times:' .. name
local keyed = string.match(ARGV[6], ',"keyed":(%d+)')
if keyed then
  ARGV[6] = string.gsub(ARGV[6], ',"keyed":%d+', '', 1)
end
local NAMES = {'payload', 'options', 'overlap', 'missed', 'grace', 'until', 'every', 'phase', 'spec'}
local FIRST = 17
local known = redis.call('HMGET', key, 'revision', 'mark', 'last', 'since', unpack(NAMES))
local revision, ready = tonumber(ARGV[15]), {}
if marked(known[2], mark) then
  return 'ok'
elseif keyed and tonumber(keyed) < (tonumber(redis.call('HGET', base .. 'growth', 'keyed')) or 0) then
  return {'stale'}
elseif known[1] and revision and revision < (tonumber(known[1]) or 0) then
  return {'older'}
end
local same = known[5] and (ARGV[13] ~= '' or ARGV[11] ~= '')
for k = 1, #NAMES do
  same = same and (known[4 + k] or '') == ARGV[4 + k]
end

-- Append the instants that are behind one, as far as there is room for them.
local function append_times(behind)
  local fresh, room = {}, tonumber(ARGV[16]) - redis.call('LLEN', times)
  for k = FIRST, #ARGV do
    if tonumber(ARGV[k]) > behind and #fresh < room then
      fresh[#fresh + 1] = ARGV[k]
    end
  end
  if #fresh > 0 then
    redis.call('RPUSH', times, unpack(fresh))
  end
end

local rung = false
if same then
  redis.call('HSET', key, 'source', ARGV[14], 'revision', ARGV[15])
  -- What was over when it was set, or has been due already, is over though its instant is given again.
  local behind = math.max(tonumber(known[4]) or now, tonumber(known[3]) or 0)
  append_times(math.max(behind, tonumber(redis.call('LINDEX', times, -1) or nil) or 0))
else
  if known[5] then
    local fired, _, more = fire(name, ready, 100)
    rung = fired > 0
    if more then
      append(ready)
      local begun = false
      if noted[1] then
        --@ Uses flow (flows)
        begun = flows.go(noted)
      end
      if settle() or rung or begun then
        ring()
      end
      return {'due'}
    end
    known[3] = redis.call('HGET', key, 'last')
  end
  local words = {'mark', with_mark(known[2], mark), 'since', stamp, 'source', ARGV[14], 'revision', ARGV[15]}
  for k = 1, #NAMES do
    words[#words + 1], words[#words + 2] = NAMES[k], ARGV[4 + k]
  end
  redis.call('HSET', key, unpack(words))
  redis.call('DEL', times)
  append_times(math.max(now, tonumber(known[3]) or 0))
  if ARGV[7] == 'queue' then
    redis.call('HSET', key, 'queued', 1)
    redis.call('HSET', limits, 'schedule:' .. name, '{"concurrency":1}')
  end
end
local near = plan(name, same, tonumber(ARGV[2]))
append(ready)
local begun = false
if noted[1] then
  --@ Uses flow (flows)
  begun = flows.go(noted)
end
if settle() or rung or near or begun then
  ring()
end

return same and {'same'} or 'ok'

-- Arrive: news of tasks of flows that are worked on in other queues come home.
--
-- ARGV   resent
--        per news: id, number, what they are ('ended' | 'died' | 'revived'), name of the other queue, flow, stay, how it has
--        ended, as in `done:FLOW`, or why it is dead, options (none)
-- Reply  'ok', whether there may be work for `spread`, whether there is something to `collect` (1 or 0); what news are
--        of no task that is away are passed over
--@ Keys tasks, away, spread
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), forget, ring
--@ Uses flow (flows)
local notes, gone = {}, {}

-- Take what stands for a task away; of a cancelled one the state stays for a minute.
local function take_away(id, cancelled)
  redis.call('ZREM', away, id)
  redis.call('HDEL', tasks, id)
  if cancelled then
    redis.call('HSET', state .. id, 'release_time', stamp)
    redis.call('PEXPIRE', state .. id, 60000)
  else
    redis.call('DEL', state .. id)
  end
end

local function end_of(id, flow, value, cancelled)
  take_away(id, cancelled)
  notes[#notes + 1] = {'revived', id, flow}
  if cancelled then
    notes[#notes + 1] = {'cleared', id, flow}
  else
    notes[#notes + 1] = {'ended', id, flow, string.sub(value, 1, 1) == '!' and string.sub(value, 2, 2) or 'c', value}
  end
end

for i = 2, #ARGV, 8 do
  local id, number, news, flow, stay, value = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 4], ARGV[i + 5],
    ARGV[i + 6]
  local known = redis.pcall('HMGET', state .. id, 'status', 'queue', 'enqueue_time', 'heard')
  local status = not known.err and known[1]
  local out = known[2] and known[3] == stay and (status == WORKING or status == CANCELLED)
  if not status and news == 'ended' then
    -- Its state was lost; if its flow still waits for it, that learns of the end.
    end_of(id, flow, value, false)
  elseif out and news == 'ended' then
    end_of(id, flow, value, status == CANCELLED)
  elseif out and status == WORKING and number > (tonumber(known[4]) or 0) then
    -- See Memory.
    redis.call('HDEL', state .. id, 'error')
    redis.call('HSET', state .. id, 'heard', number)
    if news == 'died' then
      redis.call('HSET', state .. id, 'error', value)
    end
    notes[#notes + 1] = {news, id, flow}
    gone[#gone + 1] = news == 'died' and {id, flow} or nil
  end
end

local begun = flows.go(notes)
for _, item in ipairs(gone) do
  -- A death may have been its end, by what is said of its flow.
  if redis.call('HEXISTS', base .. 'needs:' .. item[2], item[1]) == 0 then
    take_away(item[1], false)
  end
end
if settle() or begun then
  ring()
end
forget()

return {'ok', redis.call('EXISTS', spread), redis.call('ZCOUNT', away, '-inf', stamp) > 0 and 1 or 0}

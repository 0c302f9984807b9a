-- Beat: a worker lives, or says goodbye; what it has counted since its last beat goes into the records.
--
-- All times are the server's, so the clocks of the workers do not matter.  A beat has a number, `START.SEQUENCE`, and its
-- counts are added once: one that is sent again because its reply was lost has the number that is known already.  After
-- a goodbye that has counts the number is kept for a minute, for the same reason.  Where another worker of the same name
-- began, its heart is the one that is told, and `past` has the last number of the one before, whose counts are added all
-- the same and whose goodbye takes nothing away.
--
-- Records are hashes of JSON lists, one for each function: few large fields, because a hash of many small ones is walked
-- at each access.  A list leaves out the last ones that are 0.  What is no such list, written by hand for example, is
-- begun anew.
--
-- Memory.  The first write of a beat needs memory, so a server that has none refuses the beat as a whole.  The first one
-- of a goodbye frees some, so it passes.
--
-- KEYS   pending, never
-- ARGV   name of the worker, its start, number since then (whole), state ('' is goodbye), heartbeat (ms), slots, busy,
--        lag (ms), time since the last answered claim (s, '' is not known), health (JSON), runs of all functions and
--        waits (16 buckets and the sum in ms)
--        per function: name, numbers (succeeded, failed, dead, lost, ms run, 16 buckets)
--        Of these numbers only those that are not 0 are given, each behind its place: '1 12 5 0.25' is a first and a fifth
-- Reply  'ok' | 'again' (these counts are known) | 'late' (later ones are known: nothing was done),
--        workers of the queue, time until the next beat (ms), whether this one took the sample of sizes (1 or 0)
local KEPT = {minute = 8 * 3600000, hour = 14 * 86400000, totals = 30 * 86400000, heart = 3600000, number = 60000}
local MOST, SAMPLE, RATE, LOOK, RECENT = 200, 15000, 20, 250, 60000
local base = string.sub(KEYS[1], 1, -8)
local name, start, number, state, heartbeat = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local names, heart = base .. 'workers', base .. 'worker:' .. name
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Lists of numbers

-- A list of so many numbers as a field has it, which may leave out the last ones that are 0; nil where it is no such
-- list.  Of 1e14 and above there are none, because such a number is written with an exponent.
local function numbers(text, count)
  if not text or not string.find(text, '^%[%d[%d.,]*%]$') then
    return nil
  end
  local well, list = pcall(cjson.decode, text)
  if not well or #list > count then
    return nil
  end
  for k = #list + 1, count do
    list[k] = 0
  end
  return list
end

-- A text of some numbers, without the last ones that are 0.
local function text_of(list)
  for k = #list, 2, -1 do
    if list[k] ~= 0 then
      break
    end
    list[k] = nil
  end
  return cjson.encode(list)
end

-- A count as a field has it, or 0.
local function count_of(text)
  local one = tonumber(text)
  return one and one >= 0 and one < 1e14 and one or 0
end

-- What was given of a function, or of all: places and numbers by turns.
local function given(text)
  return cjson.decode('[' .. string.gsub(text, ' ', ',') .. ']')
end

-- The fields of a record that this beat may add to, and what it adds to each.
local fields, added = {'=*other', '*run', '*wait'}, {}
for k = 2, 3 do
  if ARGV[9 + k] ~= '' then
    added[k] = given(ARGV[9 + k])
  end
end
for k = 13, #ARGV, 2 do
  fields[#fields + 1] = '=' .. ARGV[k]
  added[#fields] = given(ARGV[k + 1])
end

-- Add what this beat has to a record, of which each function has the first `width` numbers.
local function add(record, width, life)
  local known, size = redis.pcall('HMGET', record, unpack(fields)), nil
  if known.err then
    redis.call('DEL', record)
    known = {}
  end
  local lists, words = {}, {}
  for k = 2, #fields do
    local counts, field, count, before = added[k], fields[k], width, known[k]
    if k < 4 then
      count = 17
    elseif not before and field ~= fields[1] then
      size = size or redis.call('HLEN', record)
      if size >= MOST then
        field, before = fields[1], known[1]
      else
        size = size + 1
      end
    end
    if counts then
      local list = lists[field] or numbers(before, count) or numbers('[0]', count)
      for at = 1, #counts, 2 do
        local place = counts[at]
        if place <= count then
          list[place] = list[place] + counts[at + 1]
        end
      end
      lists[field] = list
    end
  end
  for field, list in pairs(lists) do
    words[#words + 1], words[#words + 2] = field, text_of(list)
  end
  if #words > 0 and redis.call('HSET', record, unpack(words)) == #words / 2 then
    redis.call('PEXPIRE', record, string.format('%.0f', life))
  end
end

local minute = base .. string.format('minute:%.0f', math.floor(now / 60000))
local hour = base .. string.format('hour:%.0f', math.floor(now / 3600000))
local totals = base .. 'totals'

local function add_all()
  if next(added) then
    add(minute, 5, KEPT.minute)
    add(hour, 21, KEPT.hour)
    add(totals, 21, KEPT.totals)
  end
end

-- What the number says

local known = redis.pcall('HMGET', heart, 'number', 'interval', 'past')
local broken = known.err
-- The last number of this start where a heart has it as its own, or as that of the one before; nil where it has not.
local function last_in(label)
  local before, last = string.match(label or '', '^(.*)%.(%d+)$')
  return before == start and tonumber(last) or nil
end
local own, past = nil, nil
if not broken then
  own = last_in(known[1])
  past = not own and last_in(known[3])
end
local last = own or past or -1
local recent = math.max(RECENT, 3 * (not broken and count_of(known[2]) or 0))

local function reply(word)
  local workers = redis.call('ZCOUNT', names, string.format('%.0f', now - recent), '+inf')
  local interval = math.max(heartbeat, workers * 1000 / RATE)
  return {word, workers, math.ceil(interval), 0}, interval
end

if number < last then
  return (reply('late'))
end
local word = number == last and 'again' or 'ok'
local label = start .. '.' .. ARGV[3]

if past then
  redis.call('HSET', heart, 'past', label)
  if word == 'ok' then
    add_all()
  end
  return (reply(word))
end
if state == '' then
  redis.call('ZREM', names, name)
  redis.call('DEL', heart)
  if next(added) then
    redis.call('HSET', heart, 'number', label)
    redis.call('PEXPIRE', heart, KEPT.number)
    if word == 'ok' then
      add_all()
    end
  end
  return (reply(word))
end

-- The heart itself

redis.call('ZADD', names, string.format('%.0f', now), name)
if broken then
  redis.call('DEL', heart)
elseif known[1] and not own then
  redis.call('HSET', heart, 'past', known[1])
end
local answer, interval = reply(word)
redis.call('HSET', heart, 'number', label, 'seen', string.format('%.0f', now),
  'interval', string.format('%.0f', interval), 'state', state, 'slots', ARGV[6], 'busy', ARGV[7], 'lag', ARGV[8],
  'claimed', ARGV[9], 'health', ARGV[10])
local life = string.format('%.0f', math.max(KEPT.heart, 4 * interval))
redis.call('PEXPIRE', heart, life)
if word == 'ok' then
  add_all()
end

-- The first beat of each quarter of a minute takes the sample of sizes, and keeps house

local is_first = redis.call('SET', base .. 'sampled', '1', 'NX', 'PX', SAMPLE)
if (is_first or not own) and redis.call('PTTL', names) < tonumber(life) then
  redis.call('PEXPIRE', names, life)
end
if not is_first then
  return answer
end
redis.call('PEXPIRE', totals, string.format('%.0f', KEPT.totals))
-- Names of hearts that are gone go.  One whose heart is still there keeps its place, however odd its score is.
local old = string.format('%.0f', now - KEPT.heart)
for _, other in ipairs(redis.call('ZRANGEBYSCORE', names, '-inf', old, 'LIMIT', 0, 100)) do
  local left = redis.call('PTTL', base .. 'worker:' .. other)
  if left == -2 then
    redis.call('ZREM', names, other)
  else
    left = left < 0 and KEPT.heart or math.min(left, KEPT.heart)
    redis.call('ZADD', names, string.format('%.0f', now - KEPT.heart + left), other)
  end
end

local sizes, workers, slots, busy = sizes_of(base, now), 0, 0, 0
local since = string.format('%.0f', now - recent)
for _, other in ipairs(redis.call('ZREVRANGEBYSCORE', names, '+inf', since, 'LIMIT', 0, LOOK)) do
  local of = look(base, {}, 'HMGET', 'worker:' .. other, 'seen', 'interval', 'slots', 'busy')
  if count_of(of[1]) + 3 * count_of(of[2]) > now then
    workers, slots, busy = workers + 1, slots + count_of(of[3]), busy + count_of(of[4])
  end
end
sizes[6], sizes[7], sizes[8] = workers, slots, busy
local function sample(record, life, most)
  redis.call('HSET', record, '*sizes', cjson.encode(most))
  redis.call('PEXPIRE', record, string.format('%.0f', life))
end
-- `add` has begun a record anew that held something else, but only where there was something to add.
for _, record in ipairs({minute, hour}) do
  if redis.call('TYPE', record).ok ~= 'hash' then
    redis.call('DEL', record)
  end
end
sample(minute, KEPT.minute, sizes)
local highest = numbers(redis.call('HGET', hour, '*sizes'), #sizes) or sizes
for k = 1, #sizes do
  highest[k] = math.max(highest[k], sizes[k])
end
sample(hour, KEPT.hour, highest)
answer[4] = 1
return answer

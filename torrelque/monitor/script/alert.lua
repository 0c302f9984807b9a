-- calm -> rising -> firing -> falling -> calm
--
-- Look at rules of a queue, and say who is to tell of them; or write down who was told.
--
-- A rule begins to rise at `above`, and fires when it has been there for its time without a break.  It begins to fall
-- below `below`, and is calm when it has been there for its time.  From one look to the next is a minute at the most:
-- after a gap nobody knows what was in it, so both times begin anew.
--
-- What is to be told is owed until somebody has written down that it was told.  The right to tell is given to one caller,
-- for half a minute, and then to another one, so that what a killed process has not told is told.  Where some could not
-- be told the pause grows with each try, and after the last one it is given up; where a rule fires on it is told again
-- by its `repeat`.
--
-- Legend of a state, a JSON object in the hash `alerts`, whose field is NAME:HASH, with the hash of the rule: a changed
-- rule is another field, which begins calm.
--   state         'calm', 'rising', 'firing', 'falling'; since is when it came to be that
--   began         when the rule began to rise that fires
--   value, words  what was found at the last look, at seen
--   told          when somebody was told last that it fires
--   owed          what is to be told: 'firing', 'repeat', 'resolved'; nil is nothing
--   given         whether anybody had the right to tell that it fires
--   sender        token of whoever has the right to tell, of `sending`, until `until`; without a sender, nobody has it
--                 until then
--   tries         how often that was given; done: names of sinks that were told what is owed
-- All times are the server's (ms).  What is no such object, written by hand for example, is calm.
--
-- KEYS   pending, never
-- ARGV   'look', token
--        per rule: field, value ('' is nothing that could be measured), words, above, for (ms), below, clear_for (ms),
--        repeat (ms, 0 is never)
-- Reply  now; per rule: its state, what the caller is to tell ('' is nothing), names of sinks that were told (JSON)
--
-- ARGV   'told', token, field, 1 if all were told, names of those that were
-- Reply  'ok' | 'late' (somebody else has the right by now)
local KEPT, GAP, RIGHT, LONGEST, TRIES = 86400000, 60000, 30000, 960000, 10
local STATES = {calm = true, rising = true, firing = true, falling = true}
local OWED = {firing = true, ['repeat'] = true, resolved = true}
local key = string.sub(KEYS[1], 1, -8) .. 'alerts'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function instant(one)
  return type(one) == 'number' and one >= 0 and one < 1e14 and one or nil
end

local function text(one)
  return type(one) == 'string' and one or nil
end

-- A state as it is kept.
local function parse(data)
  local well, found = pcall(cjson.decode, data or '')
  if not well or type(found) ~= 'table' then
    found = {}
  end
  local since, seen = instant(found.since), instant(found.seen)
  if not STATES[found.state] or not since or not seen then
    return {state = 'calm', since = now, seen = now}
  end
  local one = {
    state = found.state, since = since, seen = seen, began = instant(found.began), told = instant(found.told),
    owed = OWED[found.owed] and found.owed or nil, given = found.given == true or nil, sender = text(found.sender),
    sending = OWED[found.sending] and found.sending or nil, ['until'] = instant(found['until']),
    tries = instant(found.tries), value = tonumber(found.value), words = text(found.words),
  }
  if not one.sending or not one['until'] then
    one.sender, one.sending = nil, nil
  end
  if type(found.done) == 'table' then
    one.done = {}
    for _, name in ipairs(found.done) do
      one.done[#one.done + 1] = text(name)
    end
  end
  return one
end

local function read(...)
  local found = redis.pcall('HMGET', key, ...)
  if found.err then
    redis.call('DEL', key)
    found = {}
  end
  return found
end

local function go(one, state)
  one.state, one.since = state, now
end

-- Something is to be told from now on, instead of what was.
local function owe(one, what)
  one.owed, one.done, one.tries = what, nil, nil
  if not one.sender then
    one['until'] = nil
  end
end

local function step(one, value, above, rise, below, fall, again)
  local high, low = value and value >= above, not value or value < below
  local gap = math.abs(now - one.seen) > GAP

  if one.state == 'rising' and not high then
    go(one, 'calm')
  elseif one.state == 'rising' and gap or one.state == 'calm' and high then
    go(one, 'rising')
  elseif one.state == 'falling' and not low then
    go(one, 'firing')
  elseif one.state == 'falling' and gap or one.state == 'firing' and low then
    go(one, 'falling')
  end

  if one.state == 'rising' and now - one.since >= rise then
    one.began, one.told, one.given = one.since, nil, nil
    go(one, 'firing')
    owe(one, 'firing')
  elseif one.state == 'falling' and now - one.since >= fall then
    go(one, 'calm')
    -- What nobody was told of is not over for anybody.
    owe(one, one.given and 'resolved' or nil)
  elseif one.state == 'firing' and not one.owed and again > 0 then
    local told = one.told or one.since
    if now - told >= again or told - now > GAP then
      owe(one, 'repeat')
    end
  end
  one.seen = now
end

-- What the caller is to tell, if it is to.
local function give(one, token)
  if one.sender == token then
    return one.sending  -- the reply of this call was lost, so it was sent again
  end
  local due = one['until']
  if not one.owed or due and now < due and due - now <= LONGEST then
    return ''
  end
  one.tries = (one.tries or 0) + 1
  if one.tries > TRIES then
    one.owed, one.sender, one.sending, one['until'], one.tries, one.done = nil, nil, nil, nil, nil, nil
    one.told = now
    return ''
  end
  one.sender, one.sending, one['until'], one.given = token, one.owed, now + RIGHT, true
  return one.owed
end

if ARGV[1] == 'told' then
  local token, field = ARGV[2], ARGV[3]
  local one = parse(read(field)[1])
  if one.sender ~= token then
    return 'late'
  end

  if one.sending ~= 'resolved' and (ARGV[4] == '1' or #ARGV > 4) then
    one.told = now
  end
  if one.sending == one.owed then
    if ARGV[4] == '1' then
      one.owed, one.done, one.tries, one['until'] = nil, nil, nil, nil
    else
      one.done = one.done or {}
      for k = 5, #ARGV do
        one.done[#one.done + 1] = ARGV[k]
      end
      one['until'] = now + math.min(RIGHT * 2 ^ ((one.tries or 1) - 1), LONGEST)
    end
  else
    one['until'] = nil
  end
  one.sender, one.sending = nil, nil
  redis.call('HSET', key, field, cjson.encode(one))
  return 'ok'
end

local token, fields, reply = ARGV[2], {}, {now}
for k = 3, #ARGV, 8 do
  fields[#fields + 1] = ARGV[k]
end
local known, words, looked_at = read(unpack(fields)), {}, {}
for k, field in ipairs(fields) do
  local at = 3 + (k - 1) * 8
  local one = parse(known[k])
  step(one, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5]),
    tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7]))
  one.value, one.words = tonumber(ARGV[at + 1]), ARGV[at + 2]
  local what = give(one, token)
  local state = cjson.encode(one)
  looked_at[field] = true
  words[#words + 1], words[#words + 2] = field, state
  reply[#reply + 1] = {state, what, cjson.encode(one.done or {})}
end
redis.call('HSET', key, unpack(words))
redis.call('PEXPIRE', key, KEPT)

-- Rules that nobody has looked at for a day go: those that were changed, or taken away.
if redis.call('HLEN', key) > #fields then
  local others = redis.call('HSCAN', key, 0, 'COUNT', 100)[2]
  for k = 1, #others, 2 do
    if not looked_at[others[k]] then
      local well, found = pcall(cjson.decode, others[k + 1])
      local seen = well and type(found) == 'table' and instant(found.seen)
      if not seen or math.abs(now - seen) > KEPT then
        redis.call('HDEL', key, others[k])
      end
    end
  end
end
return reply

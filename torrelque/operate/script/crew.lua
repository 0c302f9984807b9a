-- Crew: what the hearts of workers tell, some at a time, and what is needed to tell whether a worker is stuck.
--
-- ARGV   how many names to pass over, how many to look at, of which the health (JSON) is read too: '0' none | '1' all |
--        'named' those that have one of some texts in it, how many of these at the most; then the texts, as they stand
--        in JSON | 'longest' none, but since when the longest task runs
-- Reply  server time (ms), how many names were looked at, how many tasks are ready, whether the queue is paused (1 or 0)
--        for each name: name, time of the last beat (ms), what its key is: 'heart' | 'text' (of another version) | 'broken'
--        | 'none'; of a heart its fields seen, interval, state, slots, busy, lag, claimed, then the health, or since when
--        its longest task runs, where that is wanted (nil is not read, not there); of a text the text
local FIELDS = {'seen', 'interval', 'state', 'slots', 'busy', 'lag', 'claimed', ARGV[3] ~= '0' and 'health' or nil}
local from, which, most = tonumber(ARGV[1]), ARGV[3], tonumber(ARGV[4])

-- Many ids are looked for in one pass, few texts by a pass each.
local texts, ids = {unpack(ARGV, 5)}, nil
if #texts > 8 then
  local others = {}
  ids = {}
  for _, text in ipairs(texts) do
    if string.find(text, '\\', 1, true) then
      others[#others + 1] = text
    else
      ids[text] = true
    end
  end
  texts = others
end

local find, sub = string.find, string.sub

-- Quotes are everywhere in JSON, and a search goes from one first character to the next: so it begins behind the quote.
for k = 1, #texts do
  texts[k] = sub(texts[k], 2)
end

local function is_named(health)
  for k = 1, #texts do
    if find(health, texts[k], 1, true) then
      return true
    end
  end
  local at = ids and 1
  while at do
    local _, first = find(health, 'id": "', at, true)
    local last = first and find(health, '"', first + 1, true)
    if last and ids[sub(health, first, last)] then
      return true
    end
    at = last
  end
  return false
end

-- The first task of `running` is the longest.  No text within JSON has what is looked for, since its quotes are escaped.
local function longest(health)
  local _, at = find(health, 'running": [{', 1, true)
  local _, number = find(health, 'since": ', at or #health, true)
  return at and number and string.match(health, '^[%d.]+', number + 1) or false
end

local names = look('ZRANGE', 'workers', from, from + ARGV[2] - 1, 'WITHSCORES') or {}
local ready = (look('LLEN', 'pending') or 0) - (look('SCARD', 'holes') or 0) + (look('LLEN', 'turns') or 0) +
  (look('ZCARD', 'priority') or 0)
local reply = {now, #names / 2, math.max(0, ready), look('SISMEMBER', 'paused', '') or 0}
for k = 1, #names, 2 do
  local key, found = base .. 'worker:' .. names[k], nil
  local fields = read_raw('HMGET', key, unpack(FIELDS))
  if not fields.err then
    found = {'none'}
    for j = 1, #FIELDS do
      if fields[j] then
        found = {'heart', unpack(fields)}
        break
      end
    end
    local health = found[1] == 'heart' and fields[8]
    if health and which == 'longest' then
      found[9] = longest(health)
    elseif health and which == 'named' then
      if most > 0 and is_named(health) then
        most = most - 1
      else
        found[9] = false
      end
    end
  else
    local text = read_raw('GET', key)
    found = type(text) == 'string' and {'text', text} or {'broken'}
  end
  reply[#reply + 1] = {names[k], names[k + 1], unpack(found)}
end
return reply

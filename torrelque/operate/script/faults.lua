-- Errors of some tasks that are dead, the newest first, or that are delayed, those first that are due first.
--
-- ARGV   'dead' or 'delayed', how many of the place to skip, tasks at the most, bytes at the most
-- Reply  how many are in the place, how many of it were looked at, the server's time (ms); then for each task that has
--        an error, or is dead: id, score (ms), error, attempts, start of the last attempt (ms), the last line of the
--        history, group, function's beginning: the payload, or what it begins with; each '' where there is none
--
-- Errors and payloads have any length, and a field of a hash is read whole.  So lengths are asked for first, and the
-- reply ends early where the next would be too many bytes; one task at least is in it.  A long error comes as its
-- beginning and its end, cut at characters, which is what `find_fault` makes of it as well.
local place, skip, most, most_bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local WHOLE, BEGIN, END = 32768, 2048, 16384
local PAYLOAD, PREFIX = 2048, 512

local function cut(text)
  if #text <= WHOLE then
    return text
  end
  local head, tail = BEGIN, #text - END + 1
  -- 128 to 191 are the bytes of a character behind its first.
  while head > BEGIN - 3 and (string.byte(text, head + 1) or 0) >= 128 and string.byte(text, head + 1) < 192 do
    head = head - 1
  end
  while tail < #text - END + 4 and string.byte(text, tail) >= 128 and string.byte(text, tail) < 192 do
    tail = tail + 1
  end
  return string.sub(text, 1, head) .. '\n…' .. string.sub(text, tail)
end

local function last_line(history)
  local start, stop = 1, string.find(history, '\n', 1, true)
  while stop and stop < #history do
    start, stop = stop + 1, string.find(history, '\n', stop + 1, true)
  end
  return string.sub(history, start, start + 255)
end

local function payload_of(id)
  local length = look('HSTRLEN', 'tasks', id) or 0
  -- A payload is read whole where it is sent whole, and of longer ones those that are read without pain.
  if length == 0 or length > 65536 then
    return '', length
  end
  local payload = look('HGET', 'tasks', id) or ''
  return string.sub(payload, 1, length <= PAYLOAD and length or PREFIX), length
end

local command = place == 'dead' and 'ZREVRANGE' or 'ZRANGE'
local found = look(command, place, skip, skip + most - 1, 'WITHSCORES') or {}
local reply, bytes, seen = {look('ZCARD', place) or 0, 0, now}, 0, 0

for i = 1, #found, 2 do
  local id = found[i]
  local length = read_raw('HSTRLEN', state .. id, 'error')
  length = type(length) == 'number' and length or 0
  if seen > 0 and bytes + length > most_bytes then
    break
  end
  seen = seen + 1
  bytes = bytes + length
  if length > 0 or place == 'dead' then
    local known = read_raw('HMGET', state .. id, 'error', 'dequeue_count', 'last_dequeue_time', 'history', 'group')
    if known.err then
      known = {}
    end
    local payload = payload_of(id)
    bytes = bytes + #payload
    reply[#reply + 1] = {id, found[i + 1], cut(known[1] or ''), known[2] or '', known[3] or '',
      last_line(known[4] or ''), known[5] or '', payload}
  end
end
reply[2] = seen

return reply

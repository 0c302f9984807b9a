-- Tasks: what there is of some of them, read at one moment.
--
-- ARGV   bytes of a payload that is to be read, at the most (-1 reads none); bytes of the reply, at the most
--        per task: id
-- Reply  server time (ms), list of the keys that hold something else, 1 if any worker has a heartbeat (0), then one of
--        these per task, fewer when they would be too many bytes, but one at least: a list of
--        1 if the key of its state is a hash or nothing (0), its place (nil is none), its score there, the time to live
--        of its state (ms), bytes of its payload (-1 is none), the payload (its beginning where it is longer than is to
--        be read, nil where it was not read), then the fields
--
-- Of a longer payload the beginning may tell of which function it is a call.  A field of a hash is read whole, so such a
-- payload counts towards the bytes of the reply, if less than one that is sent, and one of 16 MB is not read.
local room, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local FIELDS = {'status', 'group', 'order', 'timeout', 'enqueue_time', 'dequeue_count', 'last_dequeue_time',
  'requeue_count', 'last_requeue_time', 'ready_time', 'priority', 'max_attempts', 'forgiven', 'release_time', 'error',
  'progress', 'result', 'history', 'flow', 'total', 'left', 'dead', 'failed', 'queue'}
local FINAL = {['3'] = true, ['4'] = true, ['6'] = true}
local PREFIX, LARGEST = 512, 16777216
local PLACES = {['1'] = 'working', ['2'] = 'delayed', ['5'] = 'dead', ['6'] = 'working',
  ['7'] = 'waiting'}

-- Where a pending task is that is not plain, and its score there.
local function find_in_order(id, group, order)
  if not group then
    local score = look('ZSCORE', 'priority', id)
    return score and 'priority', score
  end
  local score = look('ZSCORE', 'group:' .. group, id)
  if score then
    return 'group', score
  end
  local head = look('HGET', 'heads', group)
  -- As for a claim: where the field of `heads` was lost, `holders` tells.
  if head == id or not head and look('HGET', 'holders', id) == group then
    return 'turns', order
  end
end

-- Where a task is, and its score there.  A cancelled flow waits until what it had taken back has ended.
local function find(id, status, group, order, total)
  if status == '0' and (group or order) then
    return find_in_order(id, group, order)
  elseif status == '0' then
    return 'pending'
  elseif status == '6' and total then
    status = '7'
  end
  for _, place in ipairs(PLACES[status] and {PLACES[status]} or not status and
      {'working', 'delayed', 'dead', 'waiting', 'priority'} or {}) do
    local score = look('ZSCORE', place, id)
    if score then
      return place, score
    end
  end
  -- A task of a flow may be worked on in another queue.
  local score = (status == '1' or status == '6') and look('ZSCORE', 'away', id)
  if score then
    return 'away', score
  end
end

local reply, bytes = {string.format('%.0f', now), broken, look('EXISTS', 'workers')}, 0
for i = 3, #ARGV do
  local id, fine = ARGV[i], 1
  local known = read_raw('HMGET', state .. id, unpack(FIELDS))
  if known.err then
    known, fine = {}, 0
  end
  local place, score = find(id, known[1], known[2], known[3], known[20])
  local size, payload = look('HSTRLEN', 'tasks', id) or 0, false
  if size == 0 and look('HEXISTS', 'tasks', id) ~= 1 then
    size = -1
  elseif size <= room then
    payload = look('HGET', 'tasks', id)
  elseif room >= 0 and size <= LARGEST then
    payload = string.sub(look('HGET', 'tasks', id) or '', 1, PREFIX)
    bytes = bytes + size / 4
  end
  -- Only what is final has a time to live.
  local ttl = (FINAL[known[1]] or not known[1]) and look('PTTL', 'task:' .. id) or -1
  local item = {fine, place or false, score or false, ttl, size, payload or false}
  bytes = bytes + (payload and #payload or 0)
  for k = 1, #FIELDS do
    item[6 + k] = known[k] or false
    bytes = bytes + (known[k] and #known[k] or 0)
  end
  if bytes > most and #reply > 3 then
    break
  end
  reply[#reply + 1] = item
end

return reply

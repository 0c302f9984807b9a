-- Flow: its state, and how some of its tasks stand.
--
-- ARGV   flow, 'needs' (tasks that have not ended) or 'done' (those that have), cursor of HSCAN ('' is none of them),
--        how many are looked at, about; bytes of an error, and of the flow's payload, at the most; names of tasks, which
--        are told instead of a page
-- Reply  server time (ms), list of the keys that hold something else, fields of the flow's state, its score in `waiting`
--        (nil is none), its payload (nil where it is longer, or gone), the next cursor ('0' is the end), then one of
--        these per task: a list of
--        id, its field of `needs:F` (nil is none), its field of `done:F`, as far as it is no result (nil is none), its
--        score where it is (nil is none), then fields of its state
local F, from, cursor, errors, room = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[5]), tonumber(ARGV[6])
local OF_FLOW = {'status', 'total', 'left', 'dead', 'failed', 'on_failure', 'error', 'enqueue_time', 'release_time', 'name',
  'draft', 'flow', 'out'}
local FIELDS = {'status', 'dequeue_count', 'max_attempts', 'forgiven', 'error', 'enqueue_time', 'ready_time',
  'last_dequeue_time', 'last_requeue_time', 'release_time', 'group', 'total', 'left', 'queue', 'told_time'}
local PLACES = {['1'] = 'working', ['2'] = 'delayed', ['5'] = 'dead', ['6'] = 'working'}

local needs, done = 'needs:' .. F, 'done:' .. F

-- What `done:F` tells of an end, without a result.
local function brief(value)
  if not value or not string.find(value, '^[!>]') then
    return value and ''
  end
  return string.sub(value, 1, string.sub(value, 3, 3) == '=' and 3 or errors)
end

local function tell(id, left, ended)
  local known = read_raw('HMGET', state .. id, unpack(FIELDS))
  if known.err then
    known = {}
  end
  local place = PLACES[known[1]]
  local item = {id, left or false, ended or false, place and look('ZSCORE', place, id) or false}
  for k = 1, #FIELDS do
    local value = known[k] or false
    item[4 + k] = value and FIELDS[k] == 'error' and string.sub(value, -errors) or value
  end
  return item
end

local of_flow = look('HMGET', 'task:' .. F, unpack(OF_FLOW)) or {}
for k = 1, #OF_FLOW do
  of_flow[k] = of_flow[k] or false
end
local size, payload = look('HSTRLEN', 'tasks', F) or 0, false
if size > 0 and size <= room then
  payload = look('HGET', 'tasks', F)
elseif size == 0 and (look('HSTRLEN', 'task:' .. F, 'payload') or 0) <= room then
  payload = look('HGET', 'task:' .. F, 'payload')
end
local reply = {string.format('%.0f', now), broken, of_flow, look('ZSCORE', 'waiting', F) or false, payload or false, '0'}
for k = 7, #ARGV do
  local id = ARGV[k]
  reply[#reply + 1] = tell(id, look('HGET', needs, id), brief(look('HGET', done, id)))
end
if cursor ~= '' then
  local found = look('HSCAN', from == 'needs' and needs or done, cursor, 'COUNT', ARGV[4]) or {'0', {}}
  reply[6] = found[1]
  for k = 1, #found[2], 2 do
    local id, value = found[2][k], found[2][k + 1]
    if from == 'needs' then
      reply[#reply + 1] = tell(id, value, nil)
    else
      reply[#reply + 1] = tell(id, nil, brief(value))
    end
  end
end

return reply

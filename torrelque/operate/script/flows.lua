-- Flows: those among some of what waits.
--
-- ARGV   cursor of ZSCAN, how many ids are looked at, about
-- Reply  server time (ms), list of the keys that hold something else, the next cursor ('0' is the end), how many ids were
--        looked at, how many wait, then for each flow a list: id, its score, and fields of its state
local FIELDS = {'status', 'total', 'left', 'dead', 'failed', 'on_failure', 'error', 'enqueue_time', 'release_time',
  'name', 'draft', 'flow'}
local page = look('ZSCAN', 'waiting', ARGV[1], 'COUNT', ARGV[2]) or {'0', {}}
local reply = {string.format('%.0f', now), broken, page[1], #page[2] / 2, look('ZCARD', 'waiting') or 0}

for k = 1, #page[2], 2 do
  local id = page[2][k]
  local total = read_raw('HGET', state .. id, 'total')
  if total and not total.err then
    local item = {id, page[2][k + 1], unpack(redis.call('HMGET', state .. id, unpack(FIELDS)))}
    -- What is longer is cut, because a reply has an end.
    item[9] = item[9] and string.sub(item[9], -400)
    reply[#reply + 1] = item
  end
end

return reply

-- Stalled: flows that do not go on by themselves, among some of what waits.
--
-- A task is looked at by what is left of its flow: of a flow nothing can begin any more where each of its tasks waits.
--
-- ARGV   cursor of ZSCAN, how many ids are looked at, about, tasks of each flow
-- Reply  server time (ms), list of the keys that hold something else, the next cursor ('0' is the end), how many ids were
--        looked at, then by turns a flow, one of these words, and a number:
--        'late'   it should have been given up: for how long (ms)
--        'dead'   tasks are dead, and it waits for them to be redriven: how many
--        'still'  none of its tasks is left, or each of them waits, or has lost its state: how many there are
--        'large'  the same of the first of its tasks, and there are more
local page = look('ZSCAN', 'waiting', ARGV[1], 'COUNT', ARGV[2]) or {'0', {}}
local reply = {string.format('%.0f', now), broken, page[1], #page[2] / 2}

-- Whether all tasks of a flow wait that have not ended; nil is that one of them goes on.
local function judge(needs)
  local tasks = look('HSCAN', needs, 0, 'COUNT', ARGV[3])
  for k = 1, tasks and #tasks[2] or 0, 2 do
    local left = tasks[2][k + 1]
    if (left == '0' or left == 'dead') and redis.call('EXISTS', state .. tasks[2][k]) == 1 then
      return
    end
  end
  return tasks and (tasks[1] ~= '0' and 'large' or 'still'), look('HLEN', needs) or 0
end

for k = 1, #page[2], 2 do
  local id, score, word, number = page[2][k], tonumber(page[2][k + 1])
  local known = read_raw('HMGET', state .. id, 'status', 'total', 'dead', 'draft')
  if not known.err and known[1] == '7' and known[2] then
    local dead = tonumber(known[3]) or 0
    if score and score <= now then
      word, number = 'late', math.floor(now - score)
    elseif not known[4] and dead > 0 then
      -- Where `on_failure` is not 'wait', a death is an end.
      word, number = 'dead', dead
    elseif not known[4] then
      word, number = judge('needs:' .. id)
    end
  end
  if word then
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = id, word, number
  end
end

return reply

-- Put: tasks that were taken out of another shard come into this one.
--
-- Those that are here already are left as they are.  Those with a delay come only while the queue is shut: when it was
-- opened, all had come.  Where one is of yet another shard by now, nothing is changed.
--
-- ARGV   resent
--        per task: id, what is known of it, as `stage` has it
-- Reply  'ok'
--@ Keys growth, tasks, delayed
--@ Uses share (home_of, home_of_group, divided, strayed), groups (book, settle), ring
local shut, rung, items = redis.call('HGET', growth, 'shut') == '1', false, {}
for i = 2, #ARGV, 2 do
  local words, payload, due = unpack(cjson.decode(ARGV[i + 1]))
  local group, order = nil, nil
  for k = 1, #words, 2 do
    if words[k] == 'group' then
      group = words[k + 1]
    elseif words[k] == 'order' then
      -- It was enqueued before all that came here, so its number goes before all that are given here.
      order = tonumber(words[k + 1]) - 2 ^ 42
      words[k + 1] = order
    end
  end
  if strayed(group) then
    return redis.error_reply('STALE the group is in another shard by now')
  end
  items[#items + 1] = {ARGV[i], words, payload, due, group, order}
end

for _, item in ipairs(items) do
  local id, words, payload, due, group, order = unpack(item, 1, 6)
  local known = redis.call('EXISTS', state .. id) == 1 or redis.call('HEXISTS', tasks, id) == 1
  if not known and (shut or not due) then
    redis.call('HSET', state .. id, unpack(words))
    redis.call('HSET', tasks, id, payload)
    if due then
      redis.call('ZADD', delayed, due, id)
      book().delay(group, 1)
      rung = true
    else
      book().wait(id, group, order)
    end
  end
end
if settle() or rung then
  ring()
end

return 'ok'

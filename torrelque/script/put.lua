-- Put: tasks that were taken out of another shard come into this one.
--
-- Those that are here already are left as they are.  Those with a delay come only while the queue is shut: when it was
-- opened, all had come.
--
-- ARGV   resent
--        per task: id, what is known of it, as `stage` has it
-- Reply  'ok'
--@ Keys growth, tasks, delayed
--@ Uses groups (book, settle), ring
local shut, rung = redis.call('HGET', growth, 'shut') == '1', false
for i = 2, #ARGV, 2 do
  local id, item = ARGV[i], cjson.decode(ARGV[i + 1])
  local words, payload, due = item[1], item[2], item[3]
  local known = redis.call('EXISTS', state .. id) == 1 or redis.call('HEXISTS', tasks, id) == 1
  if not known and (shut or not due) then
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

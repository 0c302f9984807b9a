-- Take: tasks whose first delay has not ended, and whose group is in another shard by now, come onto a stage.
--
-- They are out of this queue from then on, and kept until they are put there.
--
-- ARGV   resent
--        per task: id
-- Reply  'ok'
--@ Keys delayed
--@ Uses stage (to_stage), groups (book, settle)
for i = 2, #ARGV do
  local id = ARGV[i]
  local known = redis.pcall('HMGET', state .. id, 'status', 'group', 'dequeue_count', 'flow')
  if not known.err and known[1] == DELAYED and known[2] and not known[3] and not known[4] and strayed(known[2]) then
    local due = redis.call('ZSCORE', delayed, id)
    if due then
      to_stage(id, due)
      redis.call('ZREM', delayed, id)
      book().delay(known[2], -1)
    end
  end
end
settle()

return 'ok'

-- Enter a task under an id that is its schedule's: whether the queue did not know that id.
--
-- `given` are options as of a task that is enqueued, without a delay and a mark; a plain one comes to `fresh`, which the
-- caller gives to `append`.
--@ Keys tasks, seq
--@ Uses place
local function enter(id, payload, given, fresh)
  if redis.call('EXISTS', state .. id) == 1 or redis.call('HEXISTS', tasks, id) == 1 then
    return false
  end
  local group, urgency = given.group, given.priority
  local words = {'status', PENDING, 'timeout', given.timeout, 'enqueue_time', stamp}
  local function add(name, value)
    if value then
      words[#words + 1], words[#words + 2] = name, value
    end
  end
  -- As in `enqueue`: numbers go up by twos.
  local order = (group or urgency) and string.format('%.0f', redis.call('INCRBY', seq, 2) - (urgency or 0) * 2 ^ 45)
  add('max_attempts', given.max_attempts)
  add('order', order)
  add('group', group)
  add('tied', group and '1')
  add('priority', urgency)
  redis.call('HSET', state .. id, unpack(words))
  redis.call('HSET', tasks, id, payload)
  place(id, group, order, fresh)
  return true
end

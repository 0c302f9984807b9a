-- Abroad: tasks of flows that are worked on in other queues.
--
-- A stand-in is such a task in the queue of its flow, its home.  It is working without a lease, and its id is in `away`,
-- whose score says when a client is to tell the other queue of its errand, `+inf` where that was told.  A guest is the
-- same task in the other queue, where `guests` has its home, its flow and its stay: the instant by which the home tells
-- it from another task that had its id before.  What becomes of a guest is news for its home: they are in `letter:ID`,
-- and the id is in `outbox`, whose score says when a client is to tell.
--
-- A script that uses it uses `noted` itself, where it says that the doorbell is to be rung: `noted.out`.
--@ Keys away, outbox, guests

-- Have the other queue told of a stand-in, when an instant has come: 'host' | 'redrive' | 'cancel'.
local function send_out(task, errand, instant)
  redis.call('HSET', state .. task, 'errand', errand)
  redis.call('HINCRBY', state .. task, 'number', 1)
  redis.call('HDEL', state .. task, 'tries')
  redis.call('ZADD', away, instant, task)
  noted.out = true
end

-- Write a letter: what the home of a guest, as `guests` has it, is to learn.
local function write_letter(task, guest, news, value)
  local letter = base .. 'letter:' .. task
  redis.call('HSET', letter, 'home', guest[1], 'flow', guest[2], 'stay', guest[3], 'news', news, 'value', value)
  redis.call('HSETNX', letter, 'number', guest[4])
  redis.call('HINCRBY', letter, 'number', 1)
  redis.call('HDEL', letter, 'tries')
  redis.call('PERSIST', letter)
  redis.call('ZADD', outbox, stamp, task)
  noted.out = true
end

-- What `guests` has of a task: its home, its flow, its stay and a number; nil where it is no guest, and where somebody
-- else has written there what nobody can tell.
local function guest_of(task)
  local text = redis.call('HGET', guests, task)
  local fine, guest = pcall(cjson.decode, text or '')
  fine = fine and type(guest) == 'table'
  for k = 1, 4 do
    fine = fine and (type(guest[k]) == 'string' or type(guest[k]) == 'number')
  end
  return fine and guest or nil
end

-- Write the letters that come of what was noted; tasks that are no guests are passed over.
local function tell_home(items)
  for _, note in ipairs(items) do
    local what, task = note[1], note[2]
    local guest = what ~= 'cancel' and guest_of(task)
    if guest then
      if what == 'died' then
        write_letter(task, guest, what, redis.call('HGET', state .. task, 'error') or 'it is dead')
      elseif what == 'revived' then
        write_letter(task, guest, what, '')
      else
        local value = what == 'ended' and note[5] or '!f ' .. (note[4] or 'cancelled')
        write_letter(task, guest, 'ended', value)
      end
    end
  end
end

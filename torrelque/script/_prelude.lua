-- What every transition knows: the queue's keys, the server's time, and whether this is a call sent twice.
--
-- KEYS are the fixed keys of the queue, in the order of `torrelque.keys.DECLARED`; ARGV[1] is '1' when the call is
-- sent again because its reply was lost.  Times are whole milliseconds, but for that of a claim, see there; `stamp` is
-- `now`, formatted once.
local pending, turns, priority, working, delayed, dead, tasks, groups, ring_key, limits, rated, paused, seq, bell, holes,
  later, holders = unpack(KEYS)
local state = string.sub(pending, 1, -8) .. 'task:'
local PENDING, WORKING, DELAYED, COMPLETED, REJECTED, DEAD, CANCELLED = '0', '1', '2', '3', '4', '5', '6'
local resent = ARGV[1] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%.0f', now)

-- What every transition knows: how the queue's keys begin, and whether this is a call sent twice.
--
-- A line that begins with `--@` is no comment but a directive, for which whoever joins the texts puts in others: `--@ keys
-- tasks, dead` makes the names of these keys, `--@ uses judge, marks (marked, with_mark)` brings the parts `_judge.lua`
-- and `_marks.lua`, each in this place and once.  A part defines what its own name says, or the names in brackets.
--
-- KEYS are `pending` and `never`, see `torrelque.protocol.keys.DECLARED`; ARGV[1] is '1' when the call is sent again because its
-- reply was lost.  Other keys are named where they are used: a key costs as much to declare as a small table.
local pending = KEYS[1]
local base = string.sub(pending, 1, -8)
local state = base .. 'task:'
local PENDING, WORKING, DELAYED, COMPLETED, REJECTED, DEAD, CANCELLED = '0', '1', '2', '3', '4', '5', '6'
local resent = ARGV[1] == '1'

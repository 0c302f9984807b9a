-- What every transition knows: how the queue's keys begin, and whether this is a call sent twice.
--
-- Directives.  A line that begins with `--@` is no comment: whoever joins the texts puts others in its place.
--
-- --@ Keys tasks, dead                       local names of these keys
-- --@ Uses judge, marks (marked, with_mark)  the texts of `_judge.lua` and `_marks.lua`, each once
--
-- A part defines a function of its own name, or else the names in brackets.
--
-- KEYS are `pending` and `never`, see `torrelque.protocol.keys.DECLARED`; ARGV[1] is '1' when the call is sent again
-- because its reply was lost.  Other keys are named where they are used: a key costs as much to declare as a small
-- table.
--
-- Memory.  At `maxmemory` the server refuses the first command of a script that may need memory, but none once the
-- script has written.  So a script that is to pass begins with a write that needs none; there it says `See Memory`.
local pending = KEYS[1]
-- Without `pending`, the last seven characters.
local base = string.sub(pending, 1, -8)
local state = base .. 'task:'
local PENDING, WORKING, DELAYED, COMPLETED, REJECTED, DEAD, CANCELLED = '0', '1', '2', '3', '4', '5', '6'
local WAITING = '7'
local resent = ARGV[1] == '1'

-- Noted: what becomes of tasks of flows in this call, each time the name of a function of `flows`, and its arguments.
--
-- It is done at the end of the script, and what does it is made only there, because most calls are of tasks without
-- flows.
local noted = {}

-- Answer: note the outcome of the next task of the call, in their order.
--
-- The call replies `refused and outcomes or 'ok'`: one word where the outcome of each task is 'ok', else all of them.
local outcomes, refused = {}, false

local function answer(outcome)
  outcomes[#outcomes + 1] = outcome
  refused = refused or outcome ~= 'ok'
end

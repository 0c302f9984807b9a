-- Place a task that is ready where it waits: in its group, among those with a priority, or, if it is plain, in the list
-- `plain`, which the caller gives to `append`.
local function place(id, group, order, plain)
  local number = tonumber(order) or 0
  if number ~= number then
    -- It is no number, which a sorted set does not take.
    number = 0
  end
  if group then
    book().wait(id, group, number)
  elseif order then
    --@ Keys priority
    redis.call('ZADD', priority, number, id)
  else
    plain[#plain + 1] = id
  end
end

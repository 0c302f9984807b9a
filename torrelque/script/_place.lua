-- Place a task that is ready where it waits: in its group, among those with a priority, or, if it is plain, in the list
-- `plain`, which the caller gives to `append`.
local function place(id, group, order, plain)
  if group then
    book().wait(id, group, tonumber(order) or 0)
  elseif order then
    --@ Keys priority
    redis.call('ZADD', priority, tonumber(order) or 0, id)
  else
    plain[#plain + 1] = id
  end
end

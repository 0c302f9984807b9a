-- Ring the doorbell, at which idle consumers wait; the list has one element at the most.
--
-- `rung` is false where the caller knows that it is not there.
--@ Keys bell
local function ring(rung)
  if rung == false or redis.call('EXISTS', bell) == 0 then
    redis.call('LPUSH', bell, '1')
  end
end

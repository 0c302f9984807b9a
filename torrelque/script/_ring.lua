-- Ring the doorbell, at which idle consumers wait; the list has one element at the most.
--@ Keys bell
local function ring()
  if redis.call('EXISTS', bell) == 0 then
    redis.call('LPUSH', bell, '1')
  end
end

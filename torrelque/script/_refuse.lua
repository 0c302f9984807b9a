-- Refuse to set something of a group that is in another shard by now, or whose limits have not come to this one yet: the
-- error, or nil.
--@ Uses share (home_of, home_of_group, divided, strayed)
local function refuse(group)
  if strayed(group) then
    return redis.error_reply('STALE the group is in another shard by now')
  end
  local shut, given = unpack(redis.call('HMGET', growth, 'shut', 'given'))
  return shut and not given and redis.error_reply('STALE the limits of the group have not come to this shard yet') or nil
end

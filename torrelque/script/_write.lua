-- Write words to a list, a set or a hash of groups by one command, if there are any.
local function write(command, name, words)
  local count = #words
  if count > 0 and redis.call(command, name, unpack(words)) * 2 == count and command == 'HSET' and
      redis.call('HLEN', name) * 2 == count then
    -- The hash is new.  The server searches a small hash from one end to the other, which costs more than all else here,
    -- until the hash has had a field of more than 64 bytes.  So write such a field and take it away.  It is no text, so
    -- it is neither a group nor an id of this library; of another client it may be, and is then left alone.
    local long = string.rep('\255', 65)
    if redis.call('HSETNX', name, long, '') == 1 then
      redis.call('HDEL', name, long)
    end
  end
end

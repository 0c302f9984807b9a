-- Write the map of the shards, unless there is one of this generation, or of a newer one.
--
-- KEYS   the map, or a copy of it
-- ARGV   generation, text
-- Reply  the map that is there then
local known = redis.call('GET', KEYS[1])
if known and cjson.decode(known).generation >= tonumber(ARGV[1]) then
  return known
end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]

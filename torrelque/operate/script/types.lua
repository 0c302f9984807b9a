-- Types of keys: those of a queue that hold something else than they should.
--
-- ARGV   per key: its short name, the type that it should have
-- Reply  by turns a short name, the type that it has
local reply = {}
for k = 1, #ARGV, 2 do
  local kind = redis.call('TYPE', base .. ARGV[k]).ok
  if kind ~= 'none' and kind ~= ARGV[k + 1] then
    reply[#reply + 1], reply[#reply + 2] = ARGV[k], kind
  end
end

return reply

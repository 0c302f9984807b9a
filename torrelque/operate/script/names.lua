-- Names of groups: some of them, by a cursor of HSCAN.
--
-- ARGV   cursor, about how many
-- Reply  list of the keys that hold something else, the next cursor ('0' is the end), then names
local found = look('HSCAN', 'groups', ARGV[1], 'COUNT', ARGV[2]) or {'0', {}}
local reply = {broken, found[1]}
for k = 1, #found[2], 2 do
  reply[#reply + 1] = found[2][k]
end

return reply

-- Holders of slots: some of them, and those that hold none by rights, seen at one moment.
--
-- ARGV   cursor, about how many
-- Reply  how many were looked at, then by turns an id, its group
local found, count = look('HSCAN', 'holders', ARGV[1], 'COUNT', ARGV[2]) or {'0', {}}, 0
local reply = {0}
for k = 1, #found[2], 2 do
  local id, group = found[2][k], found[2][k + 1]
  local known = read_raw('HMGET', state .. id, 'status', 'dequeue_count')
  local status = known[1]
  local fine = status == '1' or status == '2' and known[2] or status == '6' and look('ZSCORE', 'working', id) or
    status == '0' and look('HGET', 'heads', group) == id
  count = count + 1
  if not fine then
    reply[#reply + 1], reply[#reply + 2] = id, group
  end
end
reply[1] = count

return reply

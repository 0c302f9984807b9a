-- Books of the groups: whether counts and lists agree, at one moment, as far as there are few enough to look at.
--
-- ARGV   groups at the most, holders at the most
-- Reply  1 if pending tasks were counted (0), how many are in no other place, how many are in places of pending ones;
--        1 if slots were counted (0), then by turns a group, its slots, how many hold one
local few = (look('HLEN', 'groups') or 0) <= tonumber(ARGV[1])
local rest = look('HLEN', 'tasks') or 0
for _, name in ipairs({'working', 'delayed', 'dead', 'waiting', 'away'}) do
  rest = rest - (look('ZCARD', name) or 0)
end
local found = (look('LLEN', 'pending') or 0) - (look('SCARD', 'holes') or 0) + (look('ZCARD', 'priority') or 0)
if not few then
  return {0, rest, found, 0}
end
local counted = look('HGETALL', 'groups') or {}
for k = 1, #counted, 2 do
  found = found + (look('ZCARD', 'group:' .. counted[k]) or 0)
end
found = found + (look('HLEN', 'heads') or 0)
if (look('HLEN', 'holders') or 0) > tonumber(ARGV[2]) then
  return {#broken == 0 and 1 or 0, rest, found, 0}
end

local held, reply = {}, {#broken == 0 and 1 or 0, rest, found, 1}
local holders = look('HGETALL', 'holders') or {}
for k = 2, #holders, 2 do
  held[holders[k]] = (held[holders[k]] or 0) + 1
end
for k = 1, #counted, 2 do
  local name = counted[k]
  if tonumber(counted[k + 1]) ~= (held[name] or 0) then
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = name, counted[k + 1], held[name] or 0
  end
  held[name] = nil
end
for name, count in pairs(held) do
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = name, 'none', count
end

return reply

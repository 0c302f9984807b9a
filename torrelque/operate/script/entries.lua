-- Entries of a list from a position on, which is counted from the left.
--
-- New entries come in at the left, so that a walk meets some twice, and misses none.  Only out of a short list are
-- entries taken in its middle, by a cancel, after which others are further left: so of a short one those before the
-- position that the caller remembers are given once more.
--
-- ARGV   short name of the list, position, how many before it the caller remembers, ids at the most from the position
--        on, length up to which a list is short
-- Reply  list of the keys that hold something else, position behind the last entry, 1 if more is behind (0), then ids,
--        without the holes that are known
local name, position, short = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])
local length, from = look('LLEN', name) or 0, position
if length <= short and position <= short then
  from = math.max(0, position - ARGV[3])
end
local ids = look('LRANGE', name, from, position + ARGV[4] - 1) or {}
local behind = from + #ids
local reply = {broken, behind, behind < length and 1 or 0}
local holes = name == 'pending' and #ids > 0 and look('EXISTS', 'holes') == 1 and look('SMISMEMBER', 'holes', unpack(ids))
for k, id in ipairs(ids) do
  if not holes or holes[k] == 0 then
    reply[#reply + 1] = id
  end
end

return reply

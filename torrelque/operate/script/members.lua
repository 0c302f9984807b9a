-- Members of sorted sets behind a cursor, in the order of scores, those of one score in the order of their bytes.
--
-- ARGV   ids at the most, '1' is from the end ('' from the beginning), the lowest score, the highest
--        per set: its key's short name, a group whose head counts as a member ('' is none), score and id of the member
--        behind which to begin ('' both: at the beginning)
-- Reply  list of the keys that hold something else, then one of these per set, as far as the number of ids allows: a
--        list of 1 if more is behind (0), then id and score by turns
--
-- The order is total, so the place of a cursor is found by its score and id where its task has left, too.
local left, from_end, lowest, highest = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[3], ARGV[4]

-- Whether a text comes before another by its bytes.  `<` goes by the server's locale.  Texts may be long and alike, so
-- they are compared by parts.
local function is_before(one, other)
  local at, length = 1, math.min(#one, #other)
  while at <= length and string.sub(one, at, at + 4095) == string.sub(other, at, at + 4095) do
    at = at + 4096
  end
  while at <= length do
    local a, b = string.byte(one, at), string.byte(other, at)
    if a ~= b then
      return a < b
    end
    at = at + 1
  end
  return #one < #other
end

-- How many members come before one of a score and an id, this one counted where `with` says so.
local function count_before(name, score, id, with)
  local low, high = look('ZCOUNT', name, '-inf', '(' .. score) or 0, look('ZCOUNT', name, '-inf', score) or 0
  while low < high do
    local middle = math.floor((low + high) / 2)
    local member = look('ZRANGE', name, middle, middle)[1]
    if is_before(member, id) or with and member == id then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

-- The members of a set from where the cursor is, and how many more are behind them.
local function read(name, score, id)
  local first = lowest == '-inf' and 0 or look('ZCOUNT', name, '-inf', '(' .. lowest) or 0
  local last = (look('ZCOUNT', name, '-inf', highest) or 0) - 1
  if score ~= '' and from_end then
    last = math.min(last, count_before(name, score, id, false) - 1)
  elseif score ~= '' then
    first = math.max(first, count_before(name, score, id, true))
  end
  local count = math.max(0, math.min(left, last - first + 1))
  if count == 0 then
    return {}, math.max(0, last - first + 1)
  elseif not from_end then
    return look('ZRANGE', name, first, first + count - 1, 'WITHSCORES') or {}, last - first + 1 - count
  end
  local items, turned = look('ZRANGE', name, last - count + 1, last, 'WITHSCORES') or {}, {}
  for j = #items - 1, 1, -2 do
    turned[#turned + 1], turned[#turned + 2] = items[j], items[j + 1]
  end
  return turned, last - first + 1 - count
end

-- Put the head of a group among its members, where it is behind the cursor and its turn is in this part of them; how
-- many more are behind this part then.
local function with_head(items, behind, group, score, id)
  local head = look('HGET', 'heads', group)
  local order = head and tonumber(look('HGET', 'task:' .. head, 'order') or 0) or 0
  if not head or score ~= '' and (order < tonumber(score) or order == tonumber(score) and not is_before(id, head)) then
    return behind
  end
  local at = #items + 1
  while at > 1 and (tonumber(items[at - 1]) > order or tonumber(items[at - 1]) == order and
      is_before(head, items[at - 2])) do
    at = at - 2
  end
  if at == #items + 1 and behind > 0 then
    return behind
  end
  table.insert(items, at, string.format('%.17g', order))
  table.insert(items, at, head)
  if #items / 2 > left then
    items[#items], items[#items - 1] = nil, nil
    return behind + 1
  end
  return behind
end

local reply = {broken}
for i = 5, #ARGV, 4 do
  local group, score, id = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if left <= 0 then
    break
  end
  local items, behind = read(ARGV[i], score, id)
  if group ~= '' then
    behind = with_head(items, behind, group, score, id)
  end
  left = left - #items / 2
  table.insert(items, 1, behind > 0 and 1 or 0)
  reply[#reply + 1] = items
end

return reply

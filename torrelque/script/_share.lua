-- Share: of which groups this queue has the tasks, where it is a shard of one that has come to have more shards.
--
-- `growth` has, once the queue is fenced: `keyed`, among how many shards groups and ids are divided, and `number`, which
-- of them this one is; and of a shard that groups come to: `shut` from when it hands none of them out, `given` when it
-- has their limits, `opened` when it hands them out.
--@ Keys growth

-- The shard that a group or an id is of, among so many: its CRC32 decides.
local function home_of(word, count)
  if string.sub(word, 1, 9) == 'schedule:' then
    return 0
  end
  local crc = -1
  for k = 1, #word do
    crc = bit.bxor(crc, string.byte(word, k))
    for _ = 1, 8 do
      crc = bit.bxor(bit.rshift(crc, 1), bit.band(-bit.band(crc, 1), 0xEDB88320))
    end
  end
  return bit.bnot(crc) % 2 ^ 32 % count
end

-- The fields `keyed` and `number`, once they were read.
local divided = nil

-- Whether a group, or an id, is of another shard by now.
local function strayed(word)
  divided = divided or redis.call('HMGET', growth, 'keyed', 'number')
  return divided[1] and home_of(word, tonumber(divided[1])) ~= tonumber(divided[2])
end

-- Share: of which groups and ids this queue has the tasks, where it is a shard of one that has come to have more shards.
--
-- `growth` has, once the queue is fenced: `keyed`, among how many shards groups and ids are divided, and `number`, which
-- of them this one is; and of a shard that groups come to: `shut`, which is 1 as long as it hands none of them out and 2
-- after that, and `given` when it has their limits.
--@ Keys growth

-- The shard that an id is of, among so many: its CRC32 decides.
local function home_of(word, count)
  local crc = -1
  for k = 1, #word do
    crc = bit.bxor(crc, string.byte(word, k))
    for _ = 1, 8 do
      crc = bit.bxor(bit.rshift(crc, 1), bit.band(-bit.band(crc, 1), 0xEDB88320))
    end
  end
  return bit.bnot(crc) % 2 ^ 32 % count
end

-- The shard that a group is of; those that schedules have of their own are in the first.
local function home_of_group(name, count)
  return string.sub(name, 1, 9) == 'schedule:' and 0 or home_of(name, count)
end

-- The fields `keyed` and `number`, once they were read.
local divided = nil

-- Whether a group is of another shard by now.
local function strayed(name)
  divided = divided or redis.call('HMGET', growth, 'keyed', 'number')
  return divided[1] and home_of_group(name, tonumber(divided[1])) ~= tonumber(divided[2])
end

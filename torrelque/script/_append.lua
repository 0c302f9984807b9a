-- Append ids to pending, the first to be taken first.
--
-- An id that was cancelled in a long list and enqueued anew may still have its hole there: it takes that place again,
-- so that no id is ever in the list twice.
--@ keys holes
local function append(ids, head)
  if #ids > 0 and redis.call('EXISTS', holes) == 1 then
    local others = {}
    for _, id in ipairs(ids) do
      if redis.call('SREM', holes, id) == 0 then
        others[#others + 1] = id
      end
    end
    ids = others
  end
  if #ids > 0 then
    redis.call(head and 'RPUSH' or 'LPUSH', pending, unpack(ids))
  end
end

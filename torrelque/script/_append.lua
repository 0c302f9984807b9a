-- Append ids to pending, the first to be taken first; `at_head` puts them where the next claim takes from.
--
-- An id that was cancelled in a long list and enqueued anew may still have its hole there: it takes that place again,
-- so that no id is ever in the list twice.
--@ Keys holes
local function append(fresh, at_head)
  if #fresh > 0 and redis.call('EXISTS', holes) == 1 then
    local others = {}
    for _, id in ipairs(fresh) do
      if redis.call('SREM', holes, id) == 0 then
        others[#others + 1] = id
      end
    end
    fresh = others
  end
  if #fresh > 0 then
    redis.call(at_head and 'RPUSH' or 'LPUSH', pending, unpack(fresh))
  end
end

-- Turns: the half of the book of groups that only the claim needs.  It pops heads from `turns`, tells which of them are
-- heads still, lets a better task go first, and puts back what was not taken.
--
-- The claim opens its book by `book(with_turns)`, which calls this with the book and with arrays and functions of
-- `_groups.lua`.  They have the same names there, and its legend tells them.
--@ Keys turns, holders
local function with_turns(self, names, head, empty, freed, holding, joined, taken_ahead, cursor, room_of, meet)
  -- `turns_over` is whether `turns` gave fewer ids than it was asked for, `cycled` whether it gave none, so that heads
  -- which came up in this call go on, `rounds` how many tasks of each group this claim may come to.
  local turns_over, cycled, rounds = false, false, 1
  -- How many of `joined` were popped so; the others are pushed to `turns` when the book is settled.
  self.passed_on = 0

  -- Pop up to `count` ids of heads, in the order of their turns; `popped` are those that the caller has popped itself.
  function self.pop_heads(count, popped)
    popped = popped or not turns_over and redis.call('RPOP', turns, count) or {}
    turns_over, cycled = #popped < count, #popped == 0
    if cycled then
      -- All groups in `turns` had their turn, so heads that came up in this call go on.
      for j = 1, math.min(count, #joined - self.passed_on) do
        popped[j] = joined[self.passed_on + j]
      end
      self.passed_on = self.passed_on + #popped
    end
    rounds = turns_over and #popped > 0 and math.ceil(count / #popped) or 1
    return popped
  end

  -- Meet the groups of heads: the number of each, false where an id is of none.
  --
  -- Whoever is a head holds a slot, so `holders` tells all of them at once; what it does not know is a hole, unless it was
  -- lost.
  function self.meet_all(ids, met)
    met = met or redis.call('HMGET', holders, unpack(ids))
    for j = 1, #ids do
      local name = met[j]
      if not name then
        name = redis.pcall('HGET', state .. ids[j], 'group')
        name = type(name) == 'string' and name
      end
      met[j] = name and meet(name)
    end
    self.read('taking')
    return met
  end

  -- Put back the heads from `first` on, which were popped last and not taken, to where they came from.
  function self.put_back(popped, first)
    if cycled then
      self.passed_on = self.passed_on - (#popped - first + 1)
      return
    end
    local rest = {}
    for j = #popped, first, -1 do
      rest[#rest + 1] = popped[j]
    end
    redis.call('RPUSH', turns, unpack(rest))
    turns_over = false
  end

  -- Whether an id of `turns` is the head of its group.  If `heads` was evicted, a pending task that `holders` assigns
  -- to the group counts as its head.
  function self.is_head(k, id)
    if not head[k] and redis.call('HGET', state .. id, 'status') == PENDING and self.owner(id) == names[k] then
      head[k] = id
    end
    return head[k] == id
  end

  -- Pop the tasks behind the head that may come up in this call.  If none may, leave them there, and return the first
  -- with its order.
  local function look(k)
    local count = math.min(rounds, room_of(k))
    if count > 0 then
      taken_ahead[k], cursor[k] = self.at(k, 'ZPOPMIN', count), 1
      empty[k] = #taken_ahead[k] < 2 * count
      return nil
    end
    local first = self.at(k, 'ZRANGE', 0, 0, 'WITHSCORES')
    empty[k] = not first[1]
    return first[1], first[2]
  end

  -- If a task of lower order has entered the group since the head was chosen, put the old head back, make that task the
  -- head, and return its id; nil if there is none.
  function self.better(k, id, order)
    local first, score
    if cycled then
      -- This head was chosen in this call, when all tasks of the group were there to be compared.
      return nil
    end
    if not taken_ahead[k] and not empty[k] then
      first, score = look(k)
    end
    local items, j = taken_ahead[k], cursor[k]
    if items then
      first, score = items[j], items[j + 1]
    end
    if not first or tonumber(score) > order then
      return nil
    end
    if items then
      -- The old head takes its place among those that were taken ahead.
      while items[j + 2] and tonumber(items[j + 3]) < order do
        items[j], items[j + 1], j = items[j + 2], items[j + 3], j + 2
      end
      items[j], items[j + 1] = id, order
      if not items[j + 2] and not empty[k] then
        -- It is the last of them, so tasks that are still in `group:NAME` may come before it.
        items[j], items[j + 1] = nil, nil
        self.at(k, 'ZADD', order, id)
      end
    else
      self.at(k, 'ZPOPMIN')
      self.at(k, 'ZADD', order, id)
    end
    head[k], freed[#freed + 1] = first, id
    holding[#holding + 1], holding[#holding + 2] = first, names[k]
    return first
  end
end

-- Remember that an attempt of a task has failed: one line more in its history, `attempt start end error`.
--
-- The first and the last nine lines are kept.  Of the error there is the last line that says something, at most 160
-- bytes and no character cut in two.  Its control characters are spaces, because one of them ends a line.
--
-- The history may have been written by hand.  One that is longer than ten lines can be counts for nothing.
local function remember(task, text)
  local found = redis.call('HMGET', state .. task, 'history', 'dequeue_count', 'last_dequeue_time')

  -- Read backwards, the line is found by two searches, neither of which looks at a byte twice.  Most errors end with a
  -- short line, so a short end is looked at first.
  local size, first, last, back = 200, nil, nil, nil
  repeat
    back = string.reverse(string.sub(text, -size))
    first = string.find(back, '[^%z\1-\32\127]')
    last = first and string.find(back, '\n', first, true)
    size = size < #text and size * 8
  until last or not size
  local line = first and string.reverse(string.sub(back, first, (last or 0) - 1)) or ''
  line = string.sub(line, string.find(line, '[^%z\1-\32\127]') or 1)
  if #line > 160 then
    -- A byte from 128 to 191 goes on with a character; no character has more than three of these.
    local cut = 160
    while cut > 157 and string.find(line, '^[\128-\191]', cut + 1) do
      cut = cut - 1
    end
    line = string.sub(line, 1, cut)
  end
  line = string.gsub(line, '[%z\1-\31\127]', ' ')

  local history, ends, stop = found[1] or '', {}, 0
  history = #history <= 2500 and history or ''
  if history ~= '' and string.sub(history, -1) ~= '\n' then
    history = history .. '\n'
  end
  while stop < #history do
    stop = string.find(history, '\n', stop + 1, true)
    ends[#ends + 1] = stop
  end
  if #ends >= 10 then
    history = string.sub(history, 1, ends[1]) .. string.sub(history, ends[#ends - 8] + 1)
  end
  redis.call('HSET', state .. task, 'history', history .. string.format('%.0f %.0f %s %s\n', tonumber(found[2]) or 0,
    math.floor(tonumber(found[3]) or 0), stamp, line))
end

-- Marks: the names of the last four calls that changed a task, by which a call that is sent twice is known again.
--
-- A mark has 15 characters, so four and the spaces between them leave the state in its compact encoding (64).
local function marked(marks, mark)
  return marks and string.find(marks, mark, 1, true) ~= nil
end

-- The marks of a task after one more call, whose mark comes first.
local function with_mark(marks, mark)
  if not marks then
    return mark
  end
  return string.sub(mark .. ' ' .. marks, 1, 63)
end

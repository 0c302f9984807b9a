-- Note which process of an app was the last to declare its schedules, or ask whether that is still known.
--
-- The note is gone with the schedules when the server was emptied.  So whoever finds none may set them again; and whoever
-- finds that of another process leaves to that one what there is to be.
--
-- KEYS   pending, never
-- ARGV   app, process, revision ('' is none), 'begin' | 'look'
-- Reply  'own'     the note is this process's, and was before
--        'set'     it is now: the process begins, or no note was there
--        'other'   it is another process's; at the beginning, of one with a higher revision
local key = string.sub(KEYS[1], 1, -8) .. 'declared'
local app, process, revision = ARGV[1], ARGV[2], tonumber(ARGV[3])
local note = redis.call('HGET', key, app)
if note then
  local other, known = string.match(note, '^(%S+) ?(%d*)$')
  if other == process then
    return 'own'
  end
  known = tonumber(known)
  if ARGV[4] ~= 'begin' or revision and known and known > revision then
    return 'other'
  end
end

redis.call('HSET', key, app, process .. ' ' .. ARGV[3])
return 'set'

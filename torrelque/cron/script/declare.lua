-- Look whether the schedules of an app are as a process has declared them, or note that they are.
--
-- The note tells who has set them last, and is written when they are there: so what fails in between is seen.  It is
-- gone with them when the server was emptied, and is one of before when the server has come back with a snapshot.  Of
-- two processes the one with the higher revision counts, and where one has none, or both have the same, the one that
-- has begun later; so no two that live set their schedules by turns.
--
-- KEYS   pending, never
-- ARGV   app, process, revision ('' is none), when the process has begun (us, '' is now), 'look' | 'done',
--        the note that was there before what is done
-- Reply  one of these, when the process has begun (us), the note ('' is none)
--        'own'    the note is this process's
--        'lost'   there is no note
--        'older'  the note is of a process that does not count beside this one; when it was written meanwhile, nothing
--                 is noted, because that one may have changed what is done
--        'newer'  the note is of one beside which this one does not count; when it was written meanwhile, it is this
--                 process's now, so that the other one sees that it has to set its schedules again
local key = string.sub(KEYS[1], 1, -8) .. 'declared'
local app, process, revision, start = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.call('TYPE', key).ok ~= 'hash' then
  -- It was spoilt by hand, if there is one.
  redis.call('DEL', key)
end
local note = redis.call('HGET', key, app) or ''
local other, since, known = string.match(note, '^(%S+) (%d+) ?(%d*)$')
since, known = tonumber(since), tonumber(known)
local word
if not other then
  word = 'lost'
elseif start and other == process then
  word = 'own'
elseif revision and known and revision ~= known then
  word = revision > known and 'older' or 'newer'
else
  word = (not start or start > since) and 'older' or 'newer'
end
if not start then
  -- Whoever begins is later than the one before, though the server's clock may have been set back.
  local time = redis.call('TIME')
  start = math.max(time[1] * 1000000 + time[2], (since or 0) + 1)
end
local begun = string.format('%.0f', start)

if ARGV[5] == 'done' then
  if word ~= 'older' or note == ARGV[6] then
    redis.call('HSET', key, app, process .. ' ' .. begun .. ' ' .. ARGV[3])
  end
  if note == ARGV[6] then
    word = 'own'
  end
end
return {word, begun, note}

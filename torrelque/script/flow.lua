-- new -> waiting | pending | delayed
--
-- Make a flow: a task that nobody is handed, and its tasks, all or none.  Larger ones are made in several calls: the first
-- has `draft`, those behind it have no `total`, the last has `open`.  Tasks of a draft begin when it is opened; one that
-- nobody goes on with for a minute is given up.
--
-- ARGV   resent, max_tasks ('' is no limit), flow, mark, payload, what is said of it, a JSON object: "total": tasks that it
--        will have, "ttl": for how long it is kept when it has ended (ms), "on_failure": 'wait' | 'skip' | 'cancel', "out":
--        JSON of the ids whose results are the flow's, "name": text, "timeout": ms until it is given up, "draft", "open",
--        "keyed" as in `enqueue`, where the id is the caller's own
--        per task: id, payload, options as of a task that is enqueued, for how many ends it waits ('aN': N, one of which
--        is enough), '1' if it waits for ends of any kind only, its successors (JSON by kinds, '' is none)
-- Reply  'ok' when all of it is in (or was, when this is a call sent twice), else a list with one of these:
--        'ok'             all of it is in
--        'duplicate', id  as a list: the queue knows the id
--        'full', size     as a list: the queue has that many tasks, dead ones not counted
--        'over'           the draft was given up or cancelled
--        'stale'          groups may be in other shards by now, of which its caller is to learn
--        'broken'         the key of a state holds something else
--@ Keys tasks, dead, waiting, spread
--@ Uses noted, time (now, stamp, fraction), groups (book, settle), marks (marked, with_mark), ring
--@ Uses flow (flows), nodes (known_options, goes_by_old, least_keyed, options_of, is_stale, look_up_all, write_nodes)
local max_tasks, F, mark, meta = tonumber(ARGV[2]), ARGV[3], ARGV[4], cjson.decode(ARGV[6])
local key = state .. F
local known = redis.pcall('HMGET', key, 'status', 'mark', 'draft', 'expires')
if known.err then
  return {'broken'}
elseif meta.total and known[1] then
  if marked(known[2], mark) then
    return 'ok'
  elseif known[1] ~= CANCELLED or redis.call('EXISTS', base .. 'needs:' .. F) == 1 or redis.call('HEXISTS', tasks, F) == 1 then
    return {{'duplicate', F}}
  end
elseif not meta.total and (known[1] ~= WAITING or not known[3]) then
  -- A call that was sent twice finds what its first sending has opened.
  return resent and known[1] ~= CANCELLED and 'ok' or {'over'}
end
if meta.total then
  -- Where somebody else has written something else there, this ends the script before anything is written.
  redis.call('HLEN', base .. 'needs:' .. F)
  redis.call('HLEN', base .. 'edges:' .. F)
end
if meta.total and max_tasks then
  local size = redis.call('HLEN', tasks) - redis.call('ZCARD', dead)
  if size + meta.total >= max_tasks then
    return {{'full', size}}
  end
end

local nodes, edges, sources, ids = {}, {}, {}, {}
for i = 7, #ARGV, 6 do
  ids[#ids + 1] = ARGV[i]
end
local there, denied = {}, nil
if ids[1] then
  there, denied = look_up_all(ids, not meta.total and F)
end
if denied then
  return {denied}
end
for i = 7, #ARGV, 6 do
  local id = ARGV[i]
  if not there[id] then
    nodes[#nodes + 1] = {id = id, payload = ARGV[i + 1], given = options_of(ARGV[i + 2]), needs = ARGV[i + 3],
      last = ARGV[i + 4] == '1'}
    if ARGV[i + 5] ~= '' then
      edges[#edges + 1], edges[#edges + 2] = id, ARGV[i + 5]
    end
    if ARGV[i + 3] == '0' then
      sources[#sources + 1] = id
    end
  end
end
if is_stale() or meta.keyed and meta.keyed < (tonumber(redis.call('HGET', base .. 'growth', 'keyed')) or 0) then
  return {meta.total and 'stale' or 'over'}
end

local expires = known[4]
if meta.total then
  local words = {'status', WAITING, 'timeout', 0, 'enqueue_time', stamp, 'mark', mark, 'total', meta.total, 'left', 0,
    'ttl', meta.ttl, 'on_failure', meta.on_failure}
  expires = meta.timeout and string.format('%.0f', now + meta.timeout)
  for name, value in pairs({out = meta.out, name = meta.name, expires = expires or nil, draft = meta.draft and 1}) do
    words[#words + 1], words[#words + 2] = name, value
  end
  if redis.call('HSET', key, unpack(words)) < #words / 2 then
    redis.call('DEL', key)
    redis.call('HSET', key, unpack(words))
  end
  redis.call('DEL', base .. 'done:' .. F, base .. 'values:' .. F)
  redis.call('HSET', tasks, F, ARGV[5])
end
redis.call('ZADD', waiting, (meta.draft or not meta.open and not meta.total) and now + 60000 or expires or '+inf', F)
if nodes[1] then
  write_nodes(nodes, F)
end
if edges[1] then
  redis.call('HSET', base .. 'edges:' .. F, unpack(edges))
end
if not meta.draft and meta.total then
  flows.begin_all(sources, F)
elseif sources[1] then
  redis.call('RPUSH', base .. 'gate:' .. F, unpack(sources))
end
if meta.open then
  redis.call('HDEL', key, 'draft')
  redis.call('RPUSH', spread, cjson.encode({'', F, 'gate', 0}))
end
flows.touch(F)
local begun = flows.go({})
if settle() or begun or meta.open then
  ring()
end

return 'ok'

-- Probes: tasks that a pause lets through, one at a time.  `name` is that of the paused group, or '' for the queue.
--@ Keys probes
--@ Uses time (now, stamp, fraction)

-- When the next probe may be handed out, and how many ms after it another; nil where the pause has no probes.
local function probe_of(name)
  -- The times may have been written by hand: what cannot be read counts as a pause without probes.
  local text = redis.pcall('HGET', probes, name)
  local instant, every = string.match(type(text) == 'string' and text or '', '^(%d+) ([1-9]%d*)$')
  instant, every = tonumber(instant), tonumber(every)
  if instant and instant - every > now then
    -- No script sets the instant further ahead than `every`, so the clock went back: the probe may come now.
    instant = now
  end
  return instant, every
end

-- A probe was just handed out: note when the next may be, and return that instant.
local function next_probe(name)
  local _, every = probe_of(name)
  redis.call('HSET', probes, name, string.format('%.0f %.0f', now + every, every))
  return now + every
end

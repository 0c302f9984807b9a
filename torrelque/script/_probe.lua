-- Probes: tasks that a pause, of a group or ('') of the queue, lets through, one at a time.
--@ keys probes
--@ uses time (now, stamp, exact, fraction)

-- When the next may be, and how many ms after it another; nil where the pause lets none through.
local function probe_of(name)
  -- Written by hand perhaps: what cannot be read is a pause without probes.
  local text = redis.pcall('HGET', probes, name)
  local instant, every = string.match(type(text) == 'string' and text or '', '^(%d+) ([1-9]%d*)$')
  instant, every = tonumber(instant), tonumber(every)
  if instant and instant - every > now then
    -- It is never set so far ahead: the clock went back.
    instant = now
  end
  return instant, every
end

-- One was let through: when the next may be.
local function next_probe(name)
  local _, every = probe_of(name)
  redis.call('HSET', probes, name, string.format('%.0f %.0f', now + every, every))
  return now + every
end

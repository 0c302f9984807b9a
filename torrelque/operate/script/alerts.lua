-- Alerts: what `torrelque.monitor` has found at its last looks.
--
-- Reply  server time (ms), names of rules with their hashes, and their states (JSON), by turns
return {now, look('HGETALL', 'alerts') or {}}

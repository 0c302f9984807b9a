-- Groups: look at some of them anew, because the default of their limits was changed.
--
-- ARGV   resent
--        per group: name
-- Reply  'ok'
--@ Keys rated
--@ Uses groups (book, settle), ring
redis.call('ZREM', rated, unpack(ARGV, 2))
book().renew()
for i = 2, #ARGV do
  book().meet(ARGV[i])
end
if settle() then
  ring()
end

return 'ok'

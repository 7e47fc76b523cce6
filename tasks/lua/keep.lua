-- Keeps a captured email. ARGV: id, at ms, limit, oldest ms, then the fields. Old ones and those over the limit leave.
local id, at, limit, oldest = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
redis.call('HSET', MAIL .. id, unpack(ARGV, 5))
redis.call('ZADD', MAILBOX, at, id)
local gone = redis.call('ZRANGE', MAILBOX, '-inf', '(' .. oldest, 'BYSCORE', 'LIMIT', 0, 100)
local over = redis.call('ZCARD', MAILBOX) - #gone - limit
if over > 0 then
  for _, old in ipairs(redis.call('ZRANGE', MAILBOX, #gone, #gone + over - 1)) do gone[#gone + 1] = old end
end
for _, old in ipairs(gone) do
  redis.call('ZREM', MAILBOX, old)
  redis.call('DEL', MAIL .. old)
end
return #gone

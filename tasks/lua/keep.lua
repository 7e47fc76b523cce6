-- Keeps a captured email. ARGV: id, at ms, limit, oldest ms, client, then the fields. Old ones and those over the limit leave.
-- A client's own index is in the order of arrival here: who waits for the next email misses none.
local id, at, limit, oldest, client = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local before = redis.call('HGET', MAIL .. id, 'client')
if before and before ~= client then drop_mail(id) end
redis.call('HSET', MAIL .. id, 'client', client, unpack(ARGV, 6))
redis.call('ZADD', MAILBOX, at, id)
redis.call('ZADD', MAILBOX .. ':' .. client, 'NX', whole(us), id)
redis.call('SADD', MAILBOX_CLIENTS, client)
local gone = redis.call('ZRANGE', MAILBOX, '-inf', '(' .. oldest, 'BYSCORE', 'LIMIT', 0, 100)
local over = redis.call('ZCARD', MAILBOX) - #gone - limit
if over > 0 then
  for _, old in ipairs(redis.call('ZRANGE', MAILBOX, #gone, #gone + over - 1)) do gone[#gone + 1] = old end
end
for _, old in ipairs(gone) do drop_mail(old) end
return #gone

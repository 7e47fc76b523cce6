-- What the list of captured emails shows, newest first, without the messages; changes nothing.
-- ARGV: skip, limit, then the client, if it is only about one. Returns {how many there are, {{id, fields…}, …}, {client, …}}.
local index, skip, limit = ARGV[3] and MAILBOX .. ':' .. ARGV[3] or MAILBOX, tonumber(ARGV[1]), tonumber(ARGV[2])
local heads = {}
for _, id in ipairs(redis.call('ZRANGE', index, skip, skip + limit - 1, 'REV')) do
  local f = redis.call('HMGET', MAIL .. id, 'client', 'sender', 'to', 'at', 'email', 'subject', 'size')
  if f[1] then heads[#heads + 1] = {id, f[1], f[2], f[3], f[4], f[5], f[6] or '', f[7] or '0'} end
end
return {redis.call('ZCARD', index), heads, redis.call('SMEMBERS', MAILBOX_CLIENTS)}

-- The oldest captured email of a client to an address, marked as handed out. ARGV: client, address in lower case,
-- arrival µs of the last one looked at or '', id of the email after which to look or '', µs to look back at most.
-- Without that id: only those that were not handed out. Returns {id or '', arrival µs of the last one looked at, 0 when that id
-- is unknown}.
local client, to, cursor, after, back = unpack(ARGV)
local index = MAILBOX .. ':' .. client
if cursor == '' then
  cursor = after ~= '' and redis.call('ZSCORE', index, after) or whole(us - back)
  if after ~= '' and not redis.call('ZSCORE', index, after) then return {'', cursor, 0} end
end
local found = redis.call('ZRANGE', index, '(' .. cursor, '+inf', 'BYSCORE', 'LIMIT', 0, 500, 'WITHSCORES')
for n = 1, #found, 2 do
  cursor = found[n + 1]
  local f = redis.call('HMGET', MAIL .. found[n], 'to', 'taken')
  if f[1] and (after ~= '' or not f[2]) then
    for _, one in ipairs(cjson.decode(f[1])) do
      if one:lower() == to then
        redis.call('HSET', MAIL .. found[n], 'taken', '1')
        return {found[n], whole(cursor), 1}
      end
    end
  end
end
return {'', whole(cursor), 1}

-- Takes emails whose record has expired off the indexes. ARGV: cursor (accepted µs), page, accepted before (µs), states, each.
-- Returns {next cursor or '', taken off}.
local found = redis.call('ZRANGE', EMAILS, '(' .. ARGV[1], '(' .. ARGV[3], 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[2]), 'WITHSCORES')
local gone = {}
for n = 1, #found, 2 do
  if redis.call('EXISTS', EMAIL .. found[n]) == 0 then gone[#gone + 1] = found[n] end
end
if #gone > 0 then
  redis.call('ZREM', EMAILS, unpack(gone))
  redis.call('ZREM', OPEN, unpack(gone))
  for n = 4, #ARGV do redis.call('ZREM', STATE .. ARGV[n], unpack(gone)) end
end
return {#found == tonumber(ARGV[2]) * 2 and found[#found] or '', #gone}

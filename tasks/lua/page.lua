-- A page of emails, newest first; changes nothing. ARGV: state or '', accepted µs of the one before the page or '', limit.
-- Returns {accepted µs to continue from or '', {{1 when the content is kept, {field, value, …}}, …}}.
local index, top = ARGV[1] == '' and EMAILS or STATE .. ARGV[1], ARGV[2] == '' and '+inf' or '(' .. ARGV[2]
local limit, emails = tonumber(ARGV[3]), {}
local found = redis.call('ZRANGE', index, top, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, limit, 'WITHSCORES')
for n = 1, #found, 2 do
  local fields = redis.call('HGETALL', EMAIL .. found[n])
  if #fields > 0 then emails[#emails + 1] = {redis.call('EXISTS', CONTENT .. found[n]), fields} end
end
return {#found == limit * 2 and whole(found[#found]) or '', emails}

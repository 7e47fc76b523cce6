-- Takes captured emails out of the mailbox. ARGV: their ids, or 'all' and the client whose ones go (no client: everybody's).
-- At most 1,000 at a time. Returns {how many, 1 when there are more}.
local ids, more, gone = ARGV, 0, 0
if ARGV[1] == 'all' then
  local index = ARGV[2] and MAILBOX .. ':' .. ARGV[2] or MAILBOX
  ids = redis.call('ZRANGE', index, 0, 999)
  if #ids > 0 then redis.call('ZREM', index, unpack(ids)) end
  more = redis.call('EXISTS', index)
end
for _, id in ipairs(ids) do gone = gone + drop_mail(id) end
return {gone, more}

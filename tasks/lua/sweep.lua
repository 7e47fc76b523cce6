-- Looks at one page of the emails that are not final, and puts right what a crash or a damaged Redis left.
-- ARGV: cursor (accepted µs), page, routes in use, each. Returns {next cursor or '', seen, mended, ids whose life is over}.
local cursor, page = ARGV[1], tonumber(ARGV[2])
local routes = {}
for n = 3, #ARGV do routes[ARGV[n]] = true end
local found = redis.call('ZRANGE', OPEN, '(' .. cursor, '+inf', 'BYSCORE', 'LIMIT', 0, page, 'WITHSCORES')
local mended, over = 0, {}

local function mend(id, f, accepted)
  local state, lane, place = f[1], LANES[f[2]], f[3]
  redis.call('ZADD', STATE .. state, accepted, id)
  if state == 'held' then
    local set = HELD .. f[4] .. (f[4] == 'relay' and (':' .. f[5]) or '')
    if f[4] == 'relay' and not routes[f[5]] then
      redis.call('HSET', EMAIL .. id, 'route', 'main')
      release(id, set)
      return 1
    end
    if redis.call('ZSCORE', set, id) then return 0 end
    redis.call('ZADD', set, place, id)
    return 1
  end
  if redis.call('EXISTS', LEASE .. id) == 1 then return 0 end
  local fixed = 0
  if redis.call('EXISTS', JOB .. id) == 0 then
    put_trigger(id, accepted / 1000)
    fixed = 1
  end
  if not redis.call('ZSCORE', lane, id) and not redis.call('ZSCORE', CLAIMED, id) then
    redis.call('ZADD', lane, place, id)
    fixed = 1
  end
  return fixed
end

for n = 1, #found, 2 do
  local id = found[n]
  local f = redis.call('HMGET', EMAIL .. id, 'state', 'lane', 'place', 'held_for', 'route', 'expires', 'next')
  local is_over = f[1] == 'uncertain' and not f[7]
  if not f[1] or FINAL[f[1]] or is_over then
    redis.call('ZREM', OPEN, id)
    mended = mended + 1
  else
    mended = mended + mend(id, f, found[n + 1])
    if f[6] and tonumber(f[6]) <= now and f[1] ~= 'sending' then over[#over + 1] = id end
  end
end
if mended > 0 then wake() end
local last = #found == page * 2 and found[#found] or ''
return {last, #found / 2, mended, over}

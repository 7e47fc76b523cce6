-- Puts one email: all of it or nothing. ARGV: id, letter, deliveries, message, lane, send_at ms or '', expires ms or '',
-- idempotency key with client or '', hash of the body, queue limit, route, tokens and µs of a recipient's bucket,
-- then the recipients' buckets; none where they are not counted.
-- Returns {put | stored | replayed | conflict | full | flooded, id, accepted µs}; repeating it with the same id changes nothing.
-- Flooded: {flooded, the recipient's place from 0, ms until it may get another}; nothing is counted then.
local id, letter, deliveries, message, lane, send_at, expires, idem, hash, limit, route, tokens, fills = unpack(ARGV)

local known = redis.call('HGET', EMAIL .. id, 'accepted')
if known then return {'stored', id, known} end
if idem ~= '' then
  local before = redis.call('GET', IDEM .. idem)
  if before then
    return {before:sub(38) == hash and 'replayed' or 'conflict', before:sub(1, 36), ''}
  end
end
if redis.call('ZCARD', OPEN) >= tonumber(limit) then return {'full', '', ''} end
local buckets = {}
for n = 14, #ARGV do
  local key = RECIPIENT .. ARGV[n]
  local after, wait = drawn(buckets[key] or tonumber(redis.call('GET', key) or '0'), tonumber(tokens), tonumber(fills))
  if not after then return {'flooded', whole(n - 14), whole(math.ceil(wait / 1000))} end
  buckets[key] = after
end
for key, after in pairs(buckets) do redis.call('SET', key, whole(after), 'PX', whole(math.ceil((after - us) / 1000))) end

local at = math.max(us, tonumber(redis.call('GET', LAST) or '0') + 1)
redis.call('SET', LAST, whole(at))
local accepted, state, place = whole(at), 'queued', at / 1000
if send_at ~= '' and tonumber(send_at) > now then state, place = 'scheduled', tonumber(send_at) end

redis.call('HSET', EMAIL .. id, 'letter', letter, 'deliveries', deliveries, 'state', state, 'lane', lane, 'place', ms(place),
  'accepted', accepted, 'born', whole(place), 'route', route)
if state == 'scheduled' then redis.call('HSET', EMAIL .. id, 'next', whole(place)) end
if expires ~= '' then redis.call('HSET', EMAIL .. id, 'expires', expires) end
redis.call('SET', CONTENT .. id, message)
put_trigger(id, at / 1000)
redis.call('ZADD', LANES[lane], ms(place), id)
redis.call('ZADD', OPEN, accepted, id)
redis.call('ZADD', EMAILS, accepted, id)
redis.call('ZADD', STATE .. state, accepted, id)
if idem ~= '' then
  redis.call('SET', IDEM .. idem, id .. ' ' .. hash)
  redis.call('HSET', EMAIL .. id, 'idem', idem)
end
count('accepted', 1)
wake()
return {'put', id, accepted}

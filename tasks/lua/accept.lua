-- Puts emails: of each all or nothing. A call's words: id, letter, deliveries, message, lane, send_at ms or '', expires ms or '',
-- idempotency key with client or '', hash of the body, queue limit, route, tokens and µs of a recipient's bucket,
-- then the recipients' buckets; none where they are not counted.
-- Its answer: {put | stored | replayed | conflict | full | flooded, id, accepted µs}; with the same id again it changes nothing.
-- Flooded: {flooded, the recipient's place from 0, ms until it may get another}; nothing is counted then.
local open, last = redis.call('ZCARD', OPEN), tonumber(redis.call('GET', LAST) or '0')
local put, accepted_at, keyed, full_at = {}, {}, {}, {}

-- First all is read and decided, in order: a call sees what those before it will have put.
local answers = each(function(id, letter, deliveries, message, lane, send_at, expires, idem, hash, limit, route, tokens, fills, ...)
  local known = accepted_at[id] or redis.call('HGET', EMAIL .. id, 'accepted')
  if known then return {'stored', id, known} end
  if idem ~= '' then
    local before = keyed[idem] or redis.call('GET', IDEM .. idem)
    if before then
      return {before:sub(38) == hash and 'replayed' or 'conflict', before:sub(1, 36), ''}
    end
  end
  if open + #put >= tonumber(limit) then return {'full', '', ''} end
  local buckets = {}
  for n, recipient in ipairs({...}) do
    local key = RECIPIENT .. recipient
    local before = buckets[key] or full_at[key] or tonumber(redis.call('GET', key) or '0')
    local after, wait = drawn(before, tonumber(tokens), tonumber(fills))
    if not after then return {'flooded', whole(n - 1), whole(math.ceil(wait / 1000))} end
    buckets[key] = after
  end
  for key, after in pairs(buckets) do full_at[key] = after end

  last = math.max(us, last + 1)
  local accepted, state, place = whole(last), 'queued', last / 1000
  if send_at ~= '' and tonumber(send_at) > now then state, place = 'scheduled', tonumber(send_at) end
  accepted_at[id] = accepted
  if idem ~= '' then keyed[idem] = id .. ' ' .. hash end
  into(LANES[lane], ms(place), id)
  into(OPEN, accepted, id)
  into(EMAILS, accepted, id)
  into(STATE .. state, accepted, id)
  put[#put + 1] = {id, letter, deliveries, message, lane, expires, route, accepted, state, place, last / 1000}
  return {'put', id, accepted}
end)
if #put == 0 then return answers end

-- Then it is written, the records last: should a write fail, no email is known that is not in its lane.
redis.call('SET', LAST, whole(last))
for key, after in pairs(full_at) do redis.call('SET', key, whole(after), 'PX', whole(math.ceil((after - us) / 1000))) end
flush()
count('accepted', #put)
for _, email in ipairs(put) do
  local id, letter, deliveries, message, lane, expires, route, accepted, state, place, at = unpack(email)
  redis.call('SET', CONTENT .. id, message)
  put_trigger(id, at)
  redis.call('HSET', EMAIL .. id, 'letter', letter, 'deliveries', deliveries, 'state', state, 'lane', lane, 'place', ms(place),
    'accepted', accepted, 'born', whole(place), 'route', route)
  if state == 'scheduled' then redis.call('HSET', EMAIL .. id, 'next', whole(place)) end
  if expires ~= '' then redis.call('HSET', EMAIL .. id, 'expires', expires) end
end
for idem, value in pairs(keyed) do
  redis.call('SET', IDEM .. idem, value)
  redis.call('HSET', EMAIL .. value:sub(1, 36), 'idem', idem)
end
wake(#put)
return answers

-- Writes what became of an attempt, with arq's bookkeeping, in one step. ARGV: id, round, attempt, state, deliveries,
-- delay ms or '', held for or '', why, 1 when the attempt counts, 1 when arq's own worker keeps the lane,
-- content kept ms, record kept s, sent, failed, deferred, '<bound> <ms>' from acceptance to sent or '',
-- claims so far that ended badly, route or '', the claim's token, then events.
-- The dot mark goes with the outcome: while it is there, nobody knows what its dot came to, however many claims die after it.
-- Returns {ok | gone | old | <the state that refuses it>, next attempt ms or ''}. By attempt number, not by token: whoever
-- knows the answer may write it, until a newer attempt has begun. One that finds the mark of an older one has not: it sends
-- nothing, it only says that nobody knows, and whoever does know may be quicker. An attempt that did not count leaves its
-- number to the next claim: repeated after that, its outcome is told from the new one's by the lease.
local id, round, attempt, state, deliveries, delay, held_for, why, counts, stock, content_ms, record_s = unpack(ARGV)
local sent, failed, deferred, took = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15]), ARGV[16]
local key = EMAIL .. id
local f = redis.call('HMGET', key, 'state', 'attempt', 'round', 'lane', 'accepted', 'route', 'idem', 'dot')
if not f[1] then return {'gone', ''} end
if (f[2] ~= attempt and f[8] ~= attempt) or (f[3] or '1') ~= round then return {'old', ''} end
local holder = f[1] == 'sending' and f[2] == attempt and redis.call('GET', LEASE .. id)
if holder and holder ~= ARGV[19] then return {'old', ''} end
local is_told = f[1] ~= 'sending' and (f[1] ~= 'uncertain' or state == 'uncertain' or counts ~= '1')
if is_told then return {f[1], redis.call('HGET', key, 'next') or ''} end

local lane, next_at = LANES[f[4]], ''
redis.call('HSET', key, 'deliveries', deliveries, 'starts', ARGV[17])
redis.call('HDEL', key, 'next', 'why', 'held_for', 'dot')
if counts ~= '1' then redis.call('HINCRBY', key, 'attempt', -1) end
redis.call('DEL', LEASE .. id)
if stock ~= '1' then redis.call('DEL', RUNNING .. id) end
redis.call('ZREM', CLAIMED, id)

if ARGV[18] ~= '' then
  f[6] = ARGV[18]
  redis.call('HSET', key, 'route', f[6])
end
if held_for ~= '' then
  hold(id, f[5], f[1], f[4], held_for, f[6], why)
else
  redis.call('HSET', key, 'state', state)
  to_state(id, f[5], f[1], state)
  if why ~= '' then redis.call('HSET', key, 'why', why) end
end

if f[1] == 'uncertain' and (delay ~= '' or held_for ~= '') then -- it may have ended so: the late answer opens it again
  redis.call('ZADD', OPEN, f[5], id)
  for _, kept in ipairs({key, CONTENT .. id, EVENTS .. id}) do redis.call('PERSIST', kept) end
  if f[7] then redis.call('PERSIST', IDEM .. f[7]) end
  if redis.call('EXISTS', JOB .. id) == 0 then put_trigger(id, f[5] / 1000) end
end
if delay ~= '' then
  local at = now + tonumber(delay)
  next_at = whole(at)
  if state ~= 'queued' then redis.call('HSET', key, 'next', next_at, 'place', ms(at)) end
  if stock ~= '1' then
    redis.call('ZADD', lane, state == 'queued' and redis.call('HGET', key, 'place') or ms(at), id)
    if tonumber(delay) < 500 then wake() end
  end
elseif held_for == '' then
  redis.call('ZREM', OPEN, id)
  if stock ~= '1' then
    redis.call('ZREM', lane, id)
    redis.call('DEL', JOB .. id, RETRIED .. id)
  end
  if content_ms == '0' then redis.call('DEL', CONTENT .. id) else redis.call('PEXPIRE', CONTENT .. id, content_ms) end
  redis.call('EXPIRE', key, record_s)
  if f[7] then redis.call('EXPIRE', IDEM .. f[7], 86400) end
end

for n = 20, #ARGV do redis.call('RPUSH', EVENTS .. id, ARGV[n]) end
if #ARGV > 19 then redis.call('LTRIM', EVENTS .. id, -500, -1) end
if delay == '' and held_for == '' then redis.call('EXPIRE', EVENTS .. id, record_s) end
if sent > 0 then count('sent', sent) end
if failed > 0 then count('failed', failed) end
if deferred > 0 then count('deferred', deferred) end
if took ~= '' then count_time(f[4], took:match('(%d+) (%d+)')) end
return {'ok', next_at}

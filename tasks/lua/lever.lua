-- What an operator or a client does to one email. ARGV: id, verb, state and attempt as they were read, deliveries or '',
-- new state, record kept s, content kept ms, then events. Returns 'ok', 'gone', or the state that refuses it ('changed' when
-- the email moved on since it was read: read it again).
--   close    waiting → a final state (cancelled, expired); past its dot mark it is too late
--   reopen   not sent, final → a new round
--   now      waiting for a later moment → due now
--   hold     waiting → held for the operator
--   release  held → its lane
local id, verb, was, attempt, deliveries, state, record_s, content_ms = unpack(ARGV)
local key = EMAIL .. id
local f = redis.call('HMGET', key, 'state', 'attempt', 'lane', 'accepted', 'route', 'dot', 'held_for', 'idem', 'place', 'round')
if not f[1] then return 'gone' end
if f[1] ~= was or (f[2] or '0') ~= attempt then return 'changed' end
local lane = LANES[f[3]]

local function tell()
  for n = 9, #ARGV do redis.call('RPUSH', EVENTS .. id, ARGV[n]) end
  redis.call('LTRIM', EVENTS .. id, -500, -1)
end

local function leave_held()
  if f[7] then redis.call('ZREM', HELD .. f[7] .. (f[7] == 'relay' and (':' .. f[5]) or ''), id) end
  redis.call('HDEL', key, 'held_for', 'held_at', 'held_from', 'why')
end

if verb == 'close' then
  if f[1] == 'sending' and f[6] then return 'sending' end
  leave_held()
  redis.call('HSET', key, 'state', state, 'deliveries', deliveries)
  redis.call('HDEL', key, 'next')
  to_state(id, f[4], f[1], state)
  redis.call('ZREM', lane, id)
  redis.call('ZREM', OPEN, id)
  redis.call('ZREM', CLAIMED, id)
  redis.call('DEL', JOB .. id, RETRIED .. id, LEASE .. id)
  if content_ms == '0' then redis.call('DEL', CONTENT .. id) else redis.call('PEXPIRE', CONTENT .. id, content_ms) end
  if f[8] then redis.call('EXPIRE', IDEM .. f[8], 86400) end
  tell()
  redis.call('EXPIRE', key, record_s)
  redis.call('EXPIRE', EVENTS .. id, record_s)
elseif verb == 'reopen' then
  if redis.call('EXISTS', CONTENT .. id) == 0 then return 'empty' end
  redis.call('HSET', key, 'state', 'queued', 'deliveries', deliveries, 'round', (f[10] or '1') + 1, 'place', ms(now),
    'born', whole(now), 'starts', '0')
  redis.call('HDEL', key, 'next', 'why', 'expires')
  for _, kept in ipairs({key, CONTENT .. id, EVENTS .. id}) do redis.call('PERSIST', kept) end
  if f[8] then redis.call('PERSIST', IDEM .. f[8]) end
  to_state(id, f[4], f[1], 'queued')
  put_trigger(id, now)
  redis.call('ZADD', lane, ms(now), id)
  redis.call('ZADD', OPEN, f[4], id)
  tell()
  wake()
elseif verb == 'now' then
  redis.call('HSET', key, 'place', ms(now), 'next', whole(now))
  redis.call('ZADD', lane, ms(now), id)
  tell()
  wake()
elseif verb == 'hold' then
  hold(id, f[4], f[1], f[3], 'operator', f[5], state)
  tell()
elseif verb == 'release' then
  release(id, HELD .. f[7] .. (f[7] == 'relay' and (':' .. f[5]) or ''))
  redis.call('HSET', key, 'starts', '0')
  tell()
  wake()
end
return 'ok'

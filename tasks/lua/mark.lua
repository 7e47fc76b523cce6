-- The dot mark: written after the body and before the dot, only if this claim still owns the email.
-- ARGV: id, token, attempt, lease ms. Returns 'ok', or why not: lease | state | expired.
local id, token, attempt, lease = unpack(ARGV)
if redis.call('GET', LEASE .. id) ~= token then return 'lease' end
local f = redis.call('HMGET', EMAIL .. id, 'state', 'attempt', 'expires')
if f[1] ~= 'sending' or f[2] ~= attempt then return 'state' end
if f[3] and tonumber(f[3]) <= now then return 'expired' end
redis.call('HSET', EMAIL .. id, 'dot', attempt)
redis.call('PEXPIRE', LEASE .. id, lease)
return 'ok'

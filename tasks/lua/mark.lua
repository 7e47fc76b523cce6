-- The dot mark: written after the body and before the dot, only if this claim still owns the email.
-- A call's words: id, token, attempt, lease ms. Its answer: 'ok', or why not: lease | state | expired.
return each(function(id, token, attempt, lease)
  if redis.call('GET', LEASE .. id) ~= token then return 'lease' end
  local f = redis.call('HMGET', EMAIL .. id, 'state', 'attempt', 'expires')
  if f[1] ~= 'sending' or f[2] ~= attempt then return 'state' end
  if f[3] and tonumber(f[3]) <= now then return 'expired' end
  redis.call('HSET', EMAIL .. id, 'dot', attempt)
  redis.call('PEXPIRE', LEASE .. id, lease)
  return 'ok'
end)

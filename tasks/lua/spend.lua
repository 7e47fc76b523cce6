-- Takes one token out of a client's bucket. ARGV: client, tokens, µs in which it fills.
-- Returns {1 when there is none, how many are left, ms until it is full, ms until there is one}.
local key, n, period = RATE .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local full_at = tonumber(redis.call('GET', key) or '0')
local after, wait = drawn(full_at, n, period)
if after then
  redis.call('SET', key, whole(after), 'PX', whole(math.ceil((after - us) / 1000)))
  full_at = after
end
return {after and 0 or 1, math.max(0, math.floor((us + period - full_at) * n / period + 1e-6)),
  whole(math.max(0, full_at - us) / 1000), whole(math.ceil((wait or 0) / 1000))}

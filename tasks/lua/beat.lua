-- Renews the leases of one worker. ARGV: lease ms, then id, token pairs. Returns the ids that are its own no longer.
local lease, lost = tonumber(ARGV[1]), {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  if redis.call('GET', LEASE .. id) == ARGV[i + 1] then
    redis.call('PEXPIRE', LEASE .. id, lease)
    redis.call('PEXPIRE', RUNNING .. id, lease)
    redis.call('ZADD', CLAIMED, 'XX', ms(now + lease), id)
    redis.call('ZADD', LANES[redis.call('HGET', EMAIL .. id, 'lane')], 'XX', ms(now + lease), id)
  else
    lost[#lost + 1] = id
  end
end
return lost

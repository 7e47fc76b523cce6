-- The shared word on a relay. ARGV: name, what, then by what:
--   seen  fingerprint, text: a worker uses it; changed settings clear what was held against the old ones → its state
--   down  stage and reply as JSON, 1 for an alarm, 1 when a probe found it: → 1 when this is new, else 0
--   probe                          → 1 when the caller is to try it now, 0 otherwise
--   up                             → 1 when this is new
-- Probes: 5 s growing to 20 s; where a person must act (alarm) and asking costs something, as a password that may get locked,
-- 30 s growing to 5 min. A certificate or a missing STARTTLS is seen before anything is said. A level falls only by mail sent.
--   pace  emails a second or ''     → ms to wait before the next email, over all workers
--   throttled                      the relay asks for a lower pace: half of it, doubling again every minute
local name, what = ARGV[1], ARGV[2]
local BEFORE_LOGIN = {connect = true, greeting = true, ehlo = true, starttls = true}
local key = RELAY .. name
local f = redis.call('HMGET', key, 'state', 'fingerprint', 'level', 'probe_at', 'alarm')

if what == 'seen' then
  if not f[2] and f[1] then
    redis.call('HSET', key, 'fingerprint', ARGV[3], 'shown', ARGV[4])
  elseif f[2] ~= ARGV[3] then
    redis.call('HSET', key, 'fingerprint', ARGV[3], 'state', 'up', 'since', whole(now), 'shown', ARGV[4], 'level', '0')
    redis.call('HDEL', key, 'alarm', 'probe_at', 'last', 'accepted')
    wake()
  end
  return redis.call('HGET', key, 'state')
elseif what == 'down' then
  local level = tonumber(f[3] or '0')
  if f[1] == 'down' and ARGV[5] ~= '1' then return 0 end
  local is_dear = ARGV[4] == '1' and not BEFORE_LOGIN[cjson.decode(ARGV[3]).stage]
  local wait = is_dear and math.min(300, 30 * 2 ^ level) or math.min(20, 5 * 1.5 ^ level)
  redis.call('HSET', key, 'state', 'down', 'last', ARGV[3], 'alarm', ARGV[4], 'level', level + 1,
    'probe_at', whole(now + wait * 1000))
  if f[1] == 'down' then return 0 end
  redis.call('HSET', key, 'since', whole(now))
  return 1
elseif what == 'probe' then
  if f[1] ~= 'down' or now < tonumber(f[4] or '0') then return 0 end
  redis.call('HSET', key, 'probe_at', whole(math.floor(now) + 20000)) -- its taker may be dead, or never have heard of it
  return 1
elseif what == 'up' then
  if f[1] == 'up' then return 0 end
  redis.call('HSET', key, 'state', 'up', 'since', whole(now), 'alarm', '0')
  redis.call('HDEL', key, 'probe_at')
  wake()
  return 1
elseif what == 'pace' or what == 'throttled' then
  local p = redis.call('HMGET', key, 'pace', 'paced_at', 'free_at')
  local rate = tonumber(ARGV[3])
  local pace = p[1] and p[1] * 2 ^ ((now - p[2]) / 60000)
  if what == 'throttled' then
    if not p[2] or now - p[2] > 5000 then
      redis.call('HSET', key, 'pace', string.format('%.4f', math.max(0.1, (pace or 20) / 2)), 'paced_at', whole(now))
    end
    return 1
  end
  if pace and pace > 100 then
    redis.call('HDEL', key, 'pace', 'paced_at')
    pace = nil
  end
  if pace and (not rate or pace < rate) then rate = pace end
  if not rate then return 0 end
  local free = math.max(now, tonumber(p[3] or '0'))
  redis.call('HSET', key, 'free_at', whole(free + 1000 / rate))
  return math.floor(free - now)
elseif what == 'accepted' then
  redis.call('HSET', key, 'accepted', '1', 'level', '0')
  return 1
end

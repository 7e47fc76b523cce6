-- Gives a worker the next emails that are due. ARGV: lease ms, token, how many, cap of the high, normal and low lane, page,
-- only this id or '' (arq's own worker runs one job and keeps its place in the lane itself),
-- 1 when the caller has nothing in hand: then it may take a suspect, alone,
-- then for each route: its name, how many relays, their names.
-- Returns {claims, ms to the next due email or -1, 1 when there is more to do at once, {relay, state, …}, suspects left}.
-- A claim whose answer was lost is repeated with its token: what it took and nobody has then is given out anew, at once.
-- A suspect is an email in whose hands workers have died: each is tried alone, so that the innocent are not held with it.
-- A claim: {id, state before, letter, deliveries, attempt, round, dot, starts, accepted, born, expires, lane, route, now}.
local lease, token, left, page, only = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[7]), ARGV[8]
local caps = {tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])}
local claims, relays, is_down, why, more = {}, {}, {}, {}, 0
local SUSPECT_STARTS = 2

local may_take_suspect, suspects, is_alone = ARGV[9] == '1', 0, false
local i = 10
while ARGV[i] do
  local route, n, all_down = ARGV[i], tonumber(ARGV[i + 1]), true
  for j = i + 2, i + 1 + n do
    local r = redis.call('HMGET', RELAY .. ARGV[j], 'state', 'pace', 'last')
    relays[#relays + 1] = ARGV[j]
    relays[#relays + 1] = r[1] == 'down' and 'down' or r[2] and 'paced' or 'up'
    if r[1] ~= 'down' then all_down = false end
    if r[1] == 'down' and r[3] then why[route] = ARGV[j] .. ': ' .. cjson.decode(r[3]).said end
  end
  is_down[route] = all_down
  i = i + 2 + n
end

local function fields(id)
  return redis.call('HMGET', EMAIL .. id, 'state', 'letter', 'deliveries', 'attempt', 'round', 'dot', 'starts', 'accepted',
    'born', 'expires', 'lane', 'route', 'why', 'next')
end

local function take(id, f, lane)
  local attempt, starts = (f[4] or '0') + 1, (f[7] or '0') + 1
  redis.call('SET', RUNNING .. id, '1', 'PX', lease)
  if lane then into(LANES[lane], ms(now + lease), id) end
  into(CLAIMED, ms(now + lease), id)
  redis.call('HSET', EMAIL .. id, 'state', 'sending', 'attempt', attempt, 'starts', starts)
  if f[14] then redis.call('HDEL', EMAIL .. id, 'next') end
  if f[1] ~= 'sending' then
    out_of(STATE .. f[1], id)
    into(STATE .. 'sending', f[8], id)
  end
  claims[#claims + 1] = {id, f[1], f[2], f[3], attempt, f[5] or '1', f[6] or '0', starts, f[8], f[9], f[10] or '', f[11], f[12],
    whole(now)}
end

-- What happens to mail without an attempt stands in its history, too.
local function tell(id, event)
  event.at = math.floor(now)
  redis.call('RPUSH', EVENTS .. id, cjson.encode(event))
  redis.call('LTRIM', EVENTS .. id, -500, -1)
end

-- Takes back what a claim of this token took: past its mark an email is in somebody's hands, and left alone.
local function give_back(id)
  if redis.call('GET', LEASE .. id) ~= token or redis.call('HEXISTS', EMAIL .. id, 'dot') == 1 then return end
  redis.call('DEL', LEASE .. id, RUNNING .. id)
  redis.call('HINCRBY', EMAIL .. id, 'attempt', -1)
  redis.call('HINCRBY', EMAIL .. id, 'starts', -1)
  redis.call('ZADD', CLAIMED, 'XX', 0, id)
end

if redis.call('EXISTS', ASKED .. token) == 1 then
  for _, id in ipairs(redis.call('ZRANGE', CLAIMED, 0, 2000)) do give_back(id) end
end

if only ~= '' then
  local f = fields(only)
  if not f[1] or FINAL[f[1]] or f[1] == 'held' then return {claims, -1, 0, relays, 0} end
  if redis.call('SET', LEASE .. only, token, 'PX', lease, 'NX') then
    take(only, f, nil)
    flush()
    redis.call('SET', ASKED .. token, '1', 'PX', lease)
  else
    more = 1
  end
  return {claims, -1, more, relays, 0}
end

-- A dead worker's mail goes back to its old place. What its dot may have done is read from the record by the next claim.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', CLAIMED, '-inf', ms(now), 'LIMIT', 0, page)) do
  if redis.call('EXISTS', LEASE .. id) == 0 then
    local f = redis.call('HMGET', EMAIL .. id, 'state', 'lane', 'place')
    if f[1] == 'sending' then
      if redis.call('EXISTS', JOB .. id) == 0 then put_trigger(id, now) end
      redis.call('ZADD', LANES[f[2]], f[3], id)
    end
    redis.call('ZREM', CLAIMED, id)
  else
    redis.call('ZADD', CLAIMED, ms(now + redis.call('PTTL', LEASE .. id)), id)
  end
end

if redis.call('EXISTS', PAUSED) == 1 then return {claims, -1, 0, relays, 0} end

-- Mail held for a relay that works again: the oldest page first, so that the order of the lane is kept exactly.
for route, down in pairs(is_down) do
  local set = HELD .. 'relay:' .. route
  if not down and left > 0 then
    local ids = redis.call('ZRANGE', set, 0, math.max(page, left) - 1)
    for _, id in ipairs(ids) do
      if release(id, set) then tell(id, {what = 'resumed', by = 'the relay, which takes mail again'}) end
    end
    if #ids > 0 then more = 1 end
  end
end

-- Scores never run backwards, even where the clock does: what was given out as due is due.
local due = math.max(now, tonumber(redis.call('GET', LAST) or '0') / 1000)
local next_due = -1
for n, lane in ipairs(LANE_NAMES) do
  local want = math.min(left, caps[n])
  if want > 0 and not is_alone then
    local ids = redis.call('ZRANGEBYSCORE', LANES[lane], '-inf', ms(due), 'LIMIT', 0, want)
    -- A damaged record ends the run; what was taken before it is then written all the same.
    local is_good, trouble = pcall(function()
      for _, id in ipairs(ids) do
        local f = fields(id)
        local is_suspect = tonumber(f[7] or '0') >= SUSPECT_STARTS
        if not f[1] or FINAL[f[1]] or f[1] == 'held' then
          redis.call('ZREM', LANES[lane], id)
          if f[1] ~= 'held' then redis.call('DEL', JOB .. id, RETRIED .. id) end
        elseif is_down[f[12]] and f[1] ~= 'sending' then
          local reason = why[f[12]] or 'its relay is not taking mail'
          hold(id, f[8], f[1], lane, 'relay', f[12], reason)
          tell(id, {what = 'held', text = reason})
        elseif is_suspect and not (may_take_suspect and #claims == 0) then
          redis.call('ZADD', LANES[lane], 'XX', ms(now + 1000), id)
          suspects = suspects + 1
        elseif redis.call('SET', LEASE .. id, token, 'PX', lease, 'NX') then
          take(id, f, lane)
          left = left - 1
          if is_suspect then
            is_alone = true
            break
          end
        else
          redis.call('ZADD', LANES[lane], 'XX', ms(now + math.max(redis.call('PTTL', LEASE .. id), 50)), id)
        end
      end
    end)
    if not is_good then
      flush()
      error(trouble)
    end
    if #ids == want and left > 0 then more = 1 end
  end
  flush()
  local first = redis.call('ZRANGE', LANES[lane], 0, 0, 'WITHSCORES')
  if first[2] then
    local wait = math.max(0, first[2] - due)
    if next_due < 0 or wait < next_due then next_due = wait end
  end
end
if #claims > 0 then redis.call('SET', ASKED .. token, '1', 'PX', lease) end
if #claims > 1 then redis.call('LPOP', WAKE, #claims - 1) end
return {claims, whole(math.ceil(next_due)), more, relays, suspects}

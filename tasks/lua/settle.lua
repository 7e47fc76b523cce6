-- Writes what became of attempts, with arq's bookkeeping, in one step. A call's words: id, round, attempt, state, deliveries,
-- delay ms or '', held for or '', why, 1 when the attempt counts, 1 when arq's own worker keeps the lane,
-- content kept ms, record kept s, sent, failed, deferred, '<bound> <ms>' from acceptance to sent or '',
-- claims so far that ended badly, route or '', the claim's token, then events.
-- The dot mark goes with the outcome: while it is there, nobody knows what its dot came to, however many claims die after it.
-- Its answer: {ok | gone | old | <the state that refuses it>, next attempt ms or ''}. By attempt number, not by token: whoever
-- knows the answer may write it, until a newer attempt has begun. One that finds the mark of an older one has not: it sends
-- nothing, it only says that nobody knows, and whoever does know may be quicker. An attempt that did not count leaves its
-- number to the next claim: repeated after that, its outcome is told from the new one's by the lease.
local counts_of, times_of = {}, {}

local function tally(sums, name, n) sums[name] = (sums[name] or 0) + n end

-- It may have ended so: the late answer opens it again.
local function reopen(id, accepted, idem)
  into(OPEN, accepted, id)
  for _, kept in ipairs({EMAIL .. id, CONTENT .. id, EVENTS .. id}) do redis.call('PERSIST', kept) end
  if idem then redis.call('PERSIST', IDEM .. idem) end
  if redis.call('EXISTS', JOB .. id) == 0 then put_trigger(id, accepted / 1000) end
end

local function finish(id, idem, content_ms, record_s)
  out_of(OPEN, id)
  if content_ms ~= '0' then redis.call('PEXPIRE', CONTENT .. id, content_ms) end
  redis.call('EXPIRE', EMAIL .. id, record_s)
  if idem then redis.call('EXPIRE', IDEM .. idem, 86400) end
end

local function tell(id, events, record_s)
  if #events > 0 and redis.call('RPUSH', EVENTS .. id, unpack(events)) > 500 then redis.call('LTRIM', EVENTS .. id, -500, -1) end
  if record_s then redis.call('EXPIRE', EVENTS .. id, record_s) end
end

local answers = each(function(id, round, attempt, state, deliveries, delay, held_for, why, counts, stock, content_ms, record_s,
    sent, failed, deferred, took, starts, new_route, token, ...)
  local key = EMAIL .. id
  local f = redis.call('HMGET', key, 'state', 'attempt', 'round', 'lane', 'accepted', 'route', 'idem', 'dot')
  local was, lane, accepted, route, idem = f[1], f[4], f[5], f[6], f[7]
  if not was then return {'gone', ''} end
  if (f[2] ~= attempt and f[8] ~= attempt) or (f[3] or '1') ~= round then return {'old', ''} end
  local holder = was == 'sending' and f[2] == attempt and redis.call('GET', LEASE .. id)
  if holder and holder ~= token then return {'old', ''} end
  local is_told = was ~= 'sending' and (was ~= 'uncertain' or state == 'uncertain' or counts ~= '1')
  if is_told then return {was, redis.call('HGET', key, 'next') or ''} end

  route = new_route ~= '' and new_route or route or 'main'
  redis.call('HSET', key, 'deliveries', deliveries, 'starts', starts, 'route', route,
    'attempt', counts == '1' and f[2] or f[2] - 1, 'state', state)
  redis.call('HDEL', key, 'next', 'why', 'held_for', 'dot')
  local gone, is_final = {LEASE .. id}, delay == '' and held_for == ''
  if stock ~= '1' then gone[2] = RUNNING .. id end
  if stock ~= '1' and is_final then gone[3], gone[4] = JOB .. id, RETRIED .. id end
  if is_final and content_ms == '0' then gone[#gone + 1] = CONTENT .. id end
  redis.call('DEL', unpack(gone))
  out_of(CLAIMED, id)
  if was == 'uncertain' and (delay ~= '' or held_for ~= '') then reopen(id, accepted, idem) end
  local next_at = ''
  if held_for ~= '' then
    flush()
    hold(id, accepted, was, lane, held_for, route, why)
  else
    if was ~= state then
      out_of(STATE .. was, id)
      into(STATE .. state, accepted, id)
    end
    if why ~= '' then redis.call('HSET', key, 'why', why) end
  end
  if delay ~= '' then
    local at = now + tonumber(delay)
    next_at = whole(at)
    if state ~= 'queued' then redis.call('HSET', key, 'next', next_at, 'place', ms(at)) end
    if stock ~= '1' then
      into(LANES[lane], state == 'queued' and redis.call('HGET', key, 'place') or ms(at), id)
      if tonumber(delay) < 500 then wake() end
    end
  end
  if is_final then
    if stock ~= '1' then out_of(LANES[lane], id) end
    finish(id, idem, content_ms, record_s)
  end
  tell(id, {...}, is_final and record_s)
  tally(counts_of, 'sent', sent)
  tally(counts_of, 'failed', failed)
  tally(counts_of, 'deferred', deferred)
  if took ~= '' then
    local bound, in_ms = took:match('(%d+) (%d+)')
    tally(times_of, lane .. bound, 1)
    tally(times_of, lane .. '_ms', in_ms)
  end
  return {'ok', next_at}
end)
flush()
for name, n in pairs(counts_of) do
  if n > 0 then count(name, n) end
end
for name, n in pairs(times_of) do count_time(name, n) end
return answers

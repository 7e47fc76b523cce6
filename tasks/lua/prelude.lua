-- Goes before every script, after the names of the keys. One clock for all hosts: Redis' own.
local clock = redis.call('TIME')
local us = clock[1] * 1000000 + clock[2]
local now = us / 1000
local LANE_NAMES = {'high', 'normal', 'low'}
local FINAL = {sent = true, partly_sent = true, captured = true, failed = true, expired = true, cancelled = true}

local function whole(x) return string.format('%.0f', x) end
local function ms(x) return string.format('%.3f', x) end

-- arq's job: msgpack of {t: nil, f: 'send', a: [id], k: {}, et: milliseconds}. Put together from strings, since cmsgpack
-- would turn the empty map into a list.
local function put_trigger(id, at_ms)
  redis.call('SET', JOB .. id, JOB_HEAD .. id .. JOB_TAIL .. struct.pack('>I8', math.floor(at_ms)))
end

local function to_state(id, accepted, old, new)
  if old == new then return end
  if old then redis.call('ZREM', STATE .. old, id) end
  redis.call('ZADD', STATE .. new, accepted, id)
end

-- Changes of sorted sets, kept until flush: each set is then written once for all emails of a script's run.
local sets = {}

local function into(key, score, id)
  if not tonumber(score) then error('a score is no number') end -- here it is its own call's error; in flush it would be everybody's
  sets[key] = sets[key] or {}
  sets[key][id] = score
end

local function out_of(key, id)
  sets[key] = sets[key] or {}
  sets[key][id] = false
end

local function flush()
  for key, changes in pairs(sets) do
    local add, remove = {}, {}
    for id, score in pairs(changes) do
      if score then
        add[#add + 1] = score
        add[#add + 1] = id
      else
        remove[#remove + 1] = id
      end
    end
    if #add > 0 then redis.call('ZADD', key, unpack(add)) end
    if #remove > 0 then redis.call('ZREM', key, unpack(remove)) end
  end
  sets = {}
end

-- Many calls in one run: ARGV holds each as its number of words and then these. The answers come in the calls' order; one that
-- fails answers with its error and leaves the others alone.
local function each(work)
  local answers, at = {}, 1
  while ARGV[at] do
    local last = at + ARGV[at]
    local is_good, answer = pcall(work, unpack(ARGV, at + 1, last))
    if not is_good then answer = type(answer) == 'table' and answer or {err = 'ERR ' .. tostring(answer)} end
    answers[#answers + 1] = answer
    at = last + 1
  end
  return answers
end

local function add(key, name, n, seconds)
  if redis.call('HINCRBY', key, name, n) == tonumber(n) then redis.call('EXPIRE', key, seconds) end
end

-- By minute, by quarter of an hour, and for ever.
local function count(name, n)
  add(MINUTE .. whole(math.floor(now / 60000)), name, n, 7500)
  add(QUARTER .. whole(math.floor(now / 900000)), name, n, 90000)
  redis.call('HINCRBY', TOTALS, name, n)
end

-- Of the time from acceptance to the relay's 250: a lane's bucket, or its sum of ms.
local function count_time(name, n)
  add(MINUTE .. whole(math.floor(now / 60000)), name, n, 7500)
  redis.call('HINCRBY', TOTALS, name, n)
end

local function wake(n)
  local tokens = {}
  for m = 1, math.min(n or 1, 64 - redis.call('LLEN', WAKE)) do tokens[m] = '1' end
  if #tokens > 0 then redis.call('LPUSH', WAKE, unpack(tokens)) end
end

-- Out of the lane, into the set of its reason; its place is kept in the record.
local function hold(id, accepted, old, lane, reason, route, why)
  local set = HELD .. reason .. (reason == 'relay' and (':' .. route) or '')
  redis.call('ZREM', LANES[lane], id)
  redis.call('ZADD', set, redis.call('HGET', EMAIL .. id, 'place'), id)
  redis.call('HSET', EMAIL .. id, 'state', 'held', 'held_for', reason, 'held_at', whole(now), 'held_from', old, 'why', why)
  redis.call('HDEL', EMAIL .. id, 'next')
  to_state(id, accepted, old, 'held')
end

-- Back from a held set to its old place in its lane; where that is a moment still to come, it waits for it as before. Its age
-- stood still meanwhile.
local WAITED = {scheduled = true, deferred = true, uncertain = true}
local function release(id, set)
  local f = redis.call('HMGET', EMAIL .. id, 'state', 'lane', 'place', 'accepted', 'held_at', 'born', 'held_from')
  redis.call('ZREM', set, id)
  if f[1] ~= 'held' then return false end
  local state = f[7] and WAITED[f[7]] and tonumber(f[3]) > now and f[7] or 'queued'
  redis.call('HSET', EMAIL .. id, 'state', state, 'born', whole(f[6] + math.max(0, now - (f[5] or now))))
  redis.call('HDEL', EMAIL .. id, 'held_for', 'held_at', 'held_from', 'why')
  if state ~= 'queued' then redis.call('HSET', EMAIL .. id, 'next', whole(f[3])) end
  to_state(id, f[4], 'held', state)
  if redis.call('EXISTS', JOB .. id) == 0 then put_trigger(id, f[4] / 1000) end
  redis.call('ZADD', LANES[f[2]], f[3], id)
  return true
end

-- A bucket of n tokens that fills in period µs, kept as the moment when it is full again. The same moment with one token less,
-- or nil and how long until there is one. A clock that was set back never makes anybody wait longer than for one token.
local function drawn(full_at, n, period)
  local after = math.min(math.max(full_at, us), us + period) + period / n
  -- The slack is for sums of fractions: many tokens drawn in one moment may add up to some µs.
  if after > us + period + math.min(1000, period / n / 2) then return nil, after - us - period end
  return after
end

local function drop_mail(id)
  local client = redis.call('HGET', MAIL .. id, 'client')
  redis.call('ZREM', MAILBOX, id)
  if client then
    redis.call('ZREM', MAILBOX .. ':' .. client, id)
    if redis.call('EXISTS', MAILBOX .. ':' .. client) == 0 then redis.call('SREM', MAILBOX_CLIENTS, client) end
  end
  return redis.call('DEL', MAIL .. id)
end

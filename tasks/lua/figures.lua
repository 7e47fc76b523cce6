-- How things stand, in one look; changes nothing. ARGV: minutes, quarters, oldest beat ms, number of states, the states, then
-- the held sets' names. The times to the relay are added up here: a page needs their sums alone.
-- Returns {now, counts by state, {in lane, first due or ''} by lane, counts by held set, emails known, accepted µs of the oldest
-- that waits or '', 1 when paused, {worker, last beat, its words or '', …}, totals, counters by minute, by quarter, all the
-- minutes' fields added up, those of the last 5}.
local function each(first, last, read)
  local found = {}
  for n = first, last do found[#found + 1] = read(n) end
  return found
end
local states = tonumber(ARGV[4])
local lanes, workers = {}, {}
for _, lane in ipairs(LANE_NAMES) do
  lanes[#lanes + 1] = redis.call('ZCARD', LANES[lane])
  lanes[#lanes + 1] = redis.call('ZRANGE', LANES[lane], 0, 0, 'WITHSCORES')[2] or ''
end
local beats = redis.call('ZRANGE', WORKERS, ARGV[3], '+inf', 'BYSCORE', 'LIMIT', 0, 200, 'WITHSCORES')
for n = 1, #beats, 2 do
  for _, word in ipairs({beats[n], beats[n + 1], redis.call('GET', WORKER .. beats[n]) or ''}) do workers[#workers + 1] = word end
end
local minute, quarter = math.floor(now / 60000), math.floor(now / 900000)

-- Not what waits for a moment that its client chose, nor what has ended without anybody knowing how.
local function oldest()
  local least = ''
  for _, state in ipairs({'queued', 'sending', 'deferred', 'held'}) do
    local score = redis.call('ZRANGE', STATE .. state, 0, 0, 'WITHSCORES')[2]
    if score and (least == '' or tonumber(score) < tonumber(least)) then least = score end
  end
  return least
end

local function counters(key) return redis.call('HMGET', key, 'accepted', 'sent', 'failed', 'deferred') end

local function added(last)
  local sums, flat = {}, {}
  for n = minute - last + 1, minute do
    local fields = redis.call('HGETALL', MINUTE .. whole(n))
    for i = 1, #fields, 2 do sums[fields[i]] = (sums[fields[i]] or 0) + fields[i + 1] end
  end
  for name, sum in pairs(sums) do
    flat[#flat + 1] = name
    flat[#flat + 1] = whole(sum)
  end
  return flat
end
return {
  whole(now),
  each(5, 4 + states, function(n) return redis.call('ZCARD', STATE .. ARGV[n]) end),
  lanes,
  each(5 + states, #ARGV, function(n) return redis.call('ZCARD', HELD .. ARGV[n]) end),
  redis.call('ZCARD', EMAILS),
  oldest(),
  redis.call('EXISTS', PAUSED),
  workers,
  redis.call('HGETALL', TOTALS),
  each(minute - ARGV[1] + 1, minute, function(n) return counters(MINUTE .. whole(n)) end),
  each(quarter - ARGV[2] + 1, quarter, function(n) return counters(QUARTER .. whole(n)) end),
  added(tonumber(ARGV[1])),
  added(5),
}

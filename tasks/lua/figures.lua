-- How things stand, in one look; changes nothing. ARGV: minutes, quarters, oldest beat ms, number of states, the states, then
-- the held sets' names.
-- Returns {now, counts by state, {in lane, first due or ''} by lane, counts by held set, emails known, accepted µs of the oldest
-- that waits or '', 1 when paused, {worker, last beat, its words or '', …}, totals, minutes, quarters}.
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
return {
  whole(now),
  each(5, 4 + states, function(n) return redis.call('ZCARD', STATE .. ARGV[n]) end),
  lanes,
  each(5 + states, #ARGV, function(n) return redis.call('ZCARD', HELD .. ARGV[n]) end),
  redis.call('ZCARD', EMAILS),
  redis.call('ZRANGE', OPEN, 0, 0, 'WITHSCORES')[2] or '',
  redis.call('EXISTS', PAUSED),
  workers,
  redis.call('HGETALL', TOTALS),
  each(minute - ARGV[1] + 1, minute, function(n) return redis.call('HGETALL', MINUTE .. whole(n)) end),
  each(quarter - ARGV[2] + 1, quarter, function(n) return redis.call('HGETALL', QUARTER .. whole(n)) end),
}

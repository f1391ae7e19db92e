-- Puts rebuilt keys in the place of the live ones, in one step, or does nothing.
--
-- Both must have counted exactly as much: every partition's watermark is the same. Live members then
-- go on without noticing.
--
-- ARGV[1] the live keys' beginning ("PREFIX:{0}:")  [2] the rebuilt ones'
-- [3] from: start of the first bucket that is replaced, '' all of them

local live, rebuilt, from = ARGV[1], ARGV[2], tonumber(ARGV[3])

local function watermarks(prefix)
	local map, list, count = {}, redis.call('HGETALL', prefix .. 'watermarks'), 0
	for i = 1, #list, 2 do
		map[list[i]] = list[i + 1]
		count = count + 1
	end
	return map, count
end

local a, a_count = watermarks(live)
local b, b_count = watermarks(rebuilt)
if a_count == 0 or a_count ~= b_count then
	return 'behind'
end
for partition, offset in pairs(a) do
	if b[partition] ~= offset then
		return 'behind'
	end
end

-- The start of a bucket's key, nil for keys that belong to no bucket.
local function start_of(name)
	return tonumber(string.match(name, '^%a+:(%-?%d+):'))
end

local function is_replaced(name)
	local start = start_of(name)
	if from == nil then
		return true
	end
	return start ~= nil and start >= from
end

for _, key in ipairs(redis.call('KEYS', live .. '*')) do
	if is_replaced(string.sub(key, #live + 1)) then
		redis.call('UNLINK', key)
	end
end

-- What belongs to no bucket and is not replaced as a whole is added to what is there.
local function merge(name, key)
	local to = live .. name
	if string.sub(name, 1, 8) == 'buckets:' then
		redis.call('ZREMRANGEBYSCORE', to, from, '+inf')
		redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. from)
		redis.call('ZUNIONSTORE', to, 2, to, key, 'AGGREGATE', 'MAX')
	elseif name == 'as_names' or name == 'sensor_gaps' then
		local pairs_of = redis.call('HGETALL', key)
		for i = 1, #pairs_of, 2 do
			redis.call('HSET', to, pairs_of[i], pairs_of[i + 1])
		end
	end
	redis.call('UNLINK', key)
end

for _, key in ipairs(redis.call('KEYS', rebuilt .. '*')) do
	local name = string.sub(key, #rebuilt + 1)
	if is_replaced(name) or name == 'watermarks' then
		redis.call('RENAME', key, live .. name)
	elseif start_of(name) ~= nil then
		redis.call('UNLINK', key)
	else
		merge(name, key)
	end
end
return 'done'

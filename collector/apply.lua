-- Applies one batch of the log, [expected, next) of a partition, or nothing at all.
--
-- The stored watermark must equal `expected`; then everything is checked (types, numbers) before
-- anything is written, and the watermark moves in the same call. So a batch that was applied
-- already, or is applied by two members at once, or follows a loss, changes nothing.
--
-- KEYS[1] watermarks (hash: partition -> next offset)   KEYS[2] scratch   KEYS[3…] what ops name
-- ARGV[1] partition  [2] expected ('' none stored)  [3] next  [4] one letter a key: its type
-- ARGV[5…] operations; a TARGETS part is: count, then (key number, lifetime in s, 0 none) each
--   H TARGETS n (field increment)*   add            N …  keep the least    X …  keep the greatest
--   P TARGETS n element*             PFADD          D TARGETS hyperloglog  PFMERGE
--   S TARGETS n member*              SADD           T TARGETS n (field text)*  set
--   Z TARGETS n start*               ZADD           R TARGETS n text*  RPUSH
--   O TARGETS sensor from to addresses   interval of the minute, ms; first target the intervals,
--                                        the others ledgers that get observed_ms and address_ms

local expected_types = { e = 'set', z = 'zset', l = 'list' }
local CHUNK = 4000        -- Lua's unpack reaches about 8,000 values
local EXACT = 9007199254740992 -- 2^53: beyond it Lua's numbers are not exact

local stored = redis.call('TYPE', KEYS[1]).ok
if stored ~= 'none' and stored ~= 'hash' then
	return { 'wrongtype', KEYS[1], stored }
end
stored = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if stored ~= ARGV[2] then
	return { 'mismatch', stored }
end

-- Hashes are checked where they are read; a HyperLogLog by its first bytes; the rest by type.
for i = 3, #KEYS do
	local letter = string.sub(ARGV[4], i, i)
	if letter == 's' then
		local start = redis.pcall('GETRANGE', KEYS[i], 0, 3)
		if type(start) == 'table' or (start ~= '' and start ~= 'HYLL') then
			return { 'wrongtype', KEYS[i], 'key that holds no HyperLogLog' }
		end
	elseif letter ~= 'h' then
		local is = redis.call('TYPE', KEYS[i]).ok
		if is ~= 'none' and is ~= expected_types[letter] then
			return { 'wrongtype', KEYS[i], is }
		end
	end
end

local at = 5
local function take()
	local value = ARGV[at]
	at = at + 1
	return value
end

local function targets()
	local list = {}
	for i = 1, tonumber(take()) do
		list[i] = { key = KEYS[tonumber(take())], lifetime = take() }
	end
	return list
end

local function values(count)
	local list = {}
	for i = 1, count do
		list[i] = take()
	end
	return list
end

-- New values of hash fields, by key; read once, written at the end.
local pending, order = {}, {}
local function fields_of(target)
	local fields = pending[target.key]
	if fields == nil then
		fields = {}
		pending[target.key] = fields
		order[#order + 1] = target
	end
	return fields
end

local refusal = nil -- the first key of another type
local function load(target, names)
	local fields, missing = fields_of(target), {}
	for _, name in ipairs(names) do
		if fields[name] == nil then
			missing[#missing + 1] = name
		end
	end
	for first = 1, #missing, CHUNK do
		local last = math.min(first + CHUNK - 1, #missing)
		local found = redis.pcall('HMGET', target.key, unpack(missing, first, last))
		if found.err then
			refusal = refusal or { 'wrongtype', target.key, redis.call('TYPE', target.key).ok }
			found = {}
		end
		for i = first, last do
			fields[missing[i]] = found[i - first + 1] or ''
		end
	end
	return fields
end

local function is_number(text)
	return string.match(text, '^%d+$') ~= nil
end

-- Decimal texts without leading zeros: exact beyond 2^53, which times in nanoseconds are.
local function is_less(a, b)
	if #a ~= #b then
		return #a < #b
	end
	return a < b
end

local combine = {
	H = function(old, new)
		local sum = tonumber(old) + tonumber(new)
		return sum < EXACT and string.format('%.0f', sum) or nil
	end,
	N = function(old, new) return is_less(new, old) and new or old end,
	X = function(old, new) return is_less(old, new) and new or old end,
}

local function combine_into(op, target, pairs_list)
	local names = {}
	for i = 1, #pairs_list, 2 do
		names[#names + 1] = pairs_list[i]
	end
	local fields = load(target, names)
	for i = 1, #pairs_list, 2 do
		local name, new, old = pairs_list[i], pairs_list[i + 1], fields[pairs_list[i]]
		if old ~= '' and not is_number(old) then
			return { 'notnumber', target.key, name }
		end
		fields[name] = old == '' and new or combine[op](old, new)
		if fields[name] == nil then
			return { 'toolarge', target.key, name }
		end
	end
	return nil
end

-- Adds [from, to) to a text of disjoint intervals "a-b,c-d"; returns the text and what is new.
local function add_interval(text, from, to)
	local list, before, after = { { from, to } }, 0, 0
	for a, b in string.gmatch(text, '(%d+)%-(%d+)') do
		list[#list + 1] = { tonumber(a), tonumber(b) }
		before = before + tonumber(b) - tonumber(a)
	end
	table.sort(list, function(x, y) return x[1] < y[1] end)
	local merged = {}
	for _, interval in ipairs(list) do
		local last = merged[#merged]
		if last ~= nil and interval[1] <= last[2] then
			last[2] = math.max(last[2], interval[2])
		else
			merged[#merged + 1] = interval
		end
	end
	local words = {}
	for i, interval in ipairs(merged) do
		after = after + interval[2] - interval[1]
		words[i] = string.format('%.0f-%.0f', interval[1], interval[2])
	end
	return table.concat(words, ','), after - before
end

local function observe(list, sensor, from, to, addresses)
	local fields = load(list[1], { sensor })
	local text, new = add_interval(fields[sensor], tonumber(from), tonumber(to))
	fields[sensor] = text
	for i = 2, #list do
		local failure = combine_into('H', list[i], { 'observed_ms', string.format('%.0f', new),
			'address_ms', string.format('%.0f', new * tonumber(addresses)) })
		if failure then
			return failure
		end
	end
	return nil
end

-- First pass: hashes are computed, everything else is put aside.
local later = {}
while at <= #ARGV do
	local op = take()
	local list = targets()
	local failure = nil
	if op == 'H' or op == 'N' or op == 'X' then
		local items = values(2 * tonumber(take()))
		for _, target in ipairs(list) do
			failure = failure or combine_into(op, target, items)
		end
	elseif op == 'T' then
		local items = values(2 * tonumber(take()))
		for _, target in ipairs(list) do
			load(target, { items[1] }) -- for the check of its type
			local fields = fields_of(target)
			for i = 1, #items, 2 do
				fields[items[i]] = items[i + 1]
			end
		end
	elseif op == 'O' then
		local sensor, from, to, addresses = take(), take(), take(), take()
		failure = observe(list, sensor, from, to, addresses)
	elseif op == 'D' then
		later[#later + 1] = { op, list, { take() } }
	else
		later[#later + 1] = { op, list, values(tonumber(take())) }
	end
	if refusal or failure then
		return refusal or failure
	end
end

-- Second pass: writing; nothing here can fail for what the data are.
local function each_chunk(items, size, run)
	for first = 1, #items, size do
		run(unpack(items, first, math.min(first + size - 1, #items)))
	end
end

local function expire(target)
	if target.lifetime ~= '0' then
		redis.call('EXPIRE', target.key, target.lifetime)
	end
end

for _, target in ipairs(order) do
	local items = {}
	for name, value in pairs(pending[target.key]) do
		items[#items + 1] = name
		items[#items + 1] = value
	end
	each_chunk(items, CHUNK, function(...) redis.call('HSET', target.key, ...) end)
	expire(target)
end

local write = {
	P = function(key, items) each_chunk(items, CHUNK, function(...) redis.call('PFADD', key, ...) end) end,
	S = function(key, items) each_chunk(items, CHUNK, function(...) redis.call('SADD', key, ...) end) end,
	R = function(key, items) each_chunk(items, CHUNK, function(...) redis.call('RPUSH', key, ...) end) end,
	Z = function(key, items)
		for _, start in ipairs(items) do
			redis.call('ZADD', key, start, start)
		end
	end,
	D = function(key) redis.call('PFMERGE', key, KEYS[2]) end,
}

for _, step in ipairs(later) do
	local op, list, items = step[1], step[2], step[3]
	if op == 'D' then
		redis.call('SET', KEYS[2], items[1])
	end
	for _, target in ipairs(list) do
		write[op](target.key, items)
		expire(target)
	end
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return { 'ok' }

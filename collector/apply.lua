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
--   S TARGETS n member*              SADD           T TARGETS n (field text)*  set
--   Z TARGETS n start*               ZADD           R TARGETS n text*  RPUSH
--   C TARGETS stem n field* counter* elements*   counters that lie together. A counter is "PACKETS
--                                        BYTES WORDS", the words of a small sketch; without words
--                                        a sketch is large, or there is none. Elements are 8 bytes
--                                        each; HLL_BYTES of them are a finished HyperLogLog. One
--                                        target: a hash of such counters; three: hashes of packets,
--                                        bytes and words. A field comes once a batch
--   O TARGETS sensor from to addresses   interval of the minute, ms; first target the intervals,
--                                        the others ledgers that get observed_ms and address_ms

local KEYS, ARGV, redis = KEYS, ARGV, redis -- locals are faster
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

-- Hashes are checked where they are read, HyperLogLogs by their first bytes, the rest by type.
for i = 3, #KEYS do
	local letter = string.sub(ARGV[4], i, i)
	if letter ~= 'h' then
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
		list[i] = { key = KEYS[tonumber(ARGV[at])], lifetime = ARGV[at + 1] }
		at = at + 2
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

-- Sketches: a field keeps the registers of a label while they are few, as words of four characters,
-- ascending, three of the register's number, one of its rank (collector/hyperloglog.h). More than
-- WORDS_MAX become a HyperLogLog of their own, its key STEM .. field, and the field says FULL. Such
-- keys are too many to be named in KEYS; they carry the same hash tag.
local WORD, WORDS_MAX, FULL = 4, 12, '+'
local ELEMENT, HLL_BYTES = 8, 12304
local REGISTERS = 16384
local DIGITS = '-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz'
local byte, sub, char = string.byte, string.sub, string.char
local digit = {}
for i = 1, #DIGITS do
	digit[byte(DIGITS, i)] = i - 1
end

-- The words with another one merged in. Digits ascend as their bytes do, so bytes are compared;
-- texts are not, because Redis compares those as the server's language does.
local function merge_word(words, word)
	local a, b, c, rank = byte(word, 1, WORD)
	local index = a * 65536 + b * 256 + c
	for at = 1, #words, WORD do
		local x, y, z, old = byte(words, at, at + WORD - 1)
		local other = x * 65536 + y * 256 + z
		if other > index then
			return sub(words, 1, at - 1) .. word .. sub(words, at)
		end
		if other == index then
			if old >= rank then
				return words
			end
			return sub(words, 1, at - 1) .. word .. sub(words, at + WORD)
		end
	end
	return words .. word
end

local function merge_words(words, more)
	if words == more then
		return words
	end
	for at = 1, #more, WORD do
		words = merge_word(words, sub(more, at, at + WORD - 1))
	end
	return words
end

local function zeros(count)
	if count == 0 then
		return ''
	elseif count <= 64 then
		return char(count - 1)
	end
	return char(64 + math.floor((count - 1) / 256), (count - 1) % 256)
end

-- Words as a HyperLogLog in Redis's sparse form; nil when they are none.
local function sparse(words)
	local out, at = { 'HYLL', char(1, 0, 0, 0), char(0, 0, 0, 0, 0, 0, 0, 128) }, 0
	for first = 1, #words, WORD do
		local a, b, c, r = byte(words, first, first + WORD - 1)
		if not (r and digit[a] and digit[b] and digit[c] and digit[r]) then
			return nil
		end
		local index, rank = digit[a] * 4096 + digit[b] * 64 + digit[c], digit[r]
		if index < at or index >= REGISTERS or rank < 1 or rank > 32 then
			return nil
		end
		out[#out + 1] = zeros(index - at) .. char(128 + (rank - 1) * 4)
		at = index + 1
	end
	out[#out + 1] = zeros(REGISTERS - at)
	return table.concat(out)
end

local full = {} -- HyperLogLogs to write
local function add_full(target, stem, field, words, elements)
	local step = { key = stem .. field, lifetime = target.lifetime }
	local start = redis.pcall('GETRANGE', step.key, 0, 3)
	if type(start) == 'table' or (start ~= '' and start ~= 'HYLL') then
		return { 'wrongtype', step.key, 'key that holds no HyperLogLog' }
	end
	if words ~= '' then
		step.base = sparse(words)
		if step.base == nil then
			return { 'notsketch', target.key, field }
		end
	end
	if #elements == HLL_BYTES then
		step.sketch = elements
	else
		step.elements = elements
	end
	full[#full + 1] = step
	return nil
end

-- What a field holds once the actors of a batch are added to the words it has, and a failure.
local function add_actors(target, stem, field, old, words, elements)
	if elements == '' then
		return old, nil
	end
	if old == FULL then
		return FULL, add_full(target, stem, field, '', elements)
	end
	if #old % WORD ~= 0 or #old > WORD * WORDS_MAX then
		return nil, { 'notsketch', target.key, field }
	end
	if words ~= '' then
		local merged = old == '' and words or merge_words(old, words)
		if #merged <= WORD * WORDS_MAX then
			return merged, nil
		end
	end
	return FULL, add_full(target, stem, field, old, elements)
end

local function parse(counter)
	return string.match(counter, '^(%d+) (%d+) ?(%S*)$')
end

local function read_fields(target, f, n)
	local old = redis.pcall('HMGET', target.key, unpack(ARGV, f, f + n - 1))
	if old.err then
		return nil, { 'wrongtype', target.key, redis.call('TYPE', target.key).ok }
	end
	return old, nil
end

local function add_number(target, field, old, amount)
	if not old then
		return amount, nil
	end
	if not is_number(old) then
		return nil, { 'notnumber', target.key, field }
	end
	local sum = combine.H(old, amount)
	return sum, sum == nil and { 'toolarge', target.key, field } or nil
end

local writes = {} -- hashes and their new fields

-- Counters in one hash.
local function add_block(target, stem, n, f)
	local found, failure = read_fields(target, f, n)
	if failure then
		return failure
	end
	local items = {}
	for i = 1, n do
		local field, counter, elements = ARGV[f + i - 1], ARGV[f + n + i - 1], ARGV[f + 2 * n + i - 1]
		local old = found[i]
		if old or (elements ~= '' and byte(counter, -1) == 32) then
			local packets, bytes, words = parse(counter)
			local old_packets, old_bytes, old_words = parse(old or '0 0')
			if old_packets == nil then
				return { 'notnumber', target.key, field }
			end
			words, failure = add_actors(target, stem, field, old_words, words, elements)
			if failure then
				return failure
			end
			packets, bytes = packets + old_packets, bytes + old_bytes
			if packets >= EXACT or bytes >= EXACT then
				return { 'toolarge', target.key, field }
			end
			counter = string.format('%.0f %.0f %s', packets, bytes, words)
		end
		items[2 * i - 1] = field
		items[2 * i] = counter
	end
	writes[#writes + 1] = { target, items }
	return nil
end

-- Counters in three hashes.
local function add_plain(list, stem, n, f)
	local found, items = {}, { {}, {}, {} }
	for k = 1, 3 do
		local failure
		found[k], failure = read_fields(list[k], f, n)
		if failure then
			return failure
		end
	end
	for i = 1, n do
		local field, elements = ARGV[f + i - 1], ARGV[f + 2 * n + i - 1]
		local new, failure = { parse(ARGV[f + n + i - 1]) }, nil
		for k = 1, 2 do
			new[k], failure = add_number(list[k], field, found[k][i], new[k])
			if failure then
				return failure
			end
		end
		local old = found[3][i] or ''
		new[3], failure = add_actors(list[3], stem, field, old, new[3], elements)
		if failure then
			return failure
		end
		for k = 1, new[3] ~= old and 3 or 2 do
			items[k][#items[k] + 1] = field
			items[k][#items[k] + 1] = new[k]
		end
	end
	for k = 1, 3 do
		writes[#writes + 1] = { list[k], items[k] }
	end
	return nil
end

local function add_counters(list)
	local stem, n = take(), tonumber(take())
	local f = at
	at = at + 3 * n
	if #list == 1 then
		return add_block(list[1], stem, n, f)
	end
	return add_plain(list, stem, n, f)
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
	elseif op == 'C' then
		failure = add_counters(list)
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
	writes[#writes + 1] = { target, items }
end
for _, write in ipairs(writes) do
	local target, items = write[1], write[2]
	for first = 1, #items, CHUNK do
		redis.call('HSET', target.key, unpack(items, first, math.min(first + CHUNK - 1, #items)))
	end
	expire(target)
end

for _, step in ipairs(full) do
	for _, sketch in ipairs({ step.base or step.sketch, step.base and step.sketch }) do
		redis.call('SET', KEYS[2], sketch)
		redis.call('PFMERGE', step.key, KEYS[2])
	end
	if step.elements then
		local count = #step.elements / ELEMENT
		local items = { struct.unpack(string.rep('c8', count), step.elements) } -- and a position
		redis.call('PFADD', step.key, unpack(items, 1, count))
	end
	expire(step)
end

local write = {
	S = function(key, items) each_chunk(items, CHUNK, function(...) redis.call('SADD', key, ...) end) end,
	R = function(key, items) each_chunk(items, CHUNK, function(...) redis.call('RPUSH', key, ...) end) end,
	Z = function(key, items)
		for _, start in ipairs(items) do
			redis.call('ZADD', key, start, start)
		end
	end,
}

for _, step in ipairs(later) do
	local op, list, items = step[1], step[2], step[3]
	for _, target in ipairs(list) do
		write[op](target.key, items)
		expire(target)
	end
end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return { 'ok' }

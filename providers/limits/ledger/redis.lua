-- One call on a ledger's counts, atomic and on the server's clock. It says what `providers/limits/reserve.py` says.
-- KEYS: the counts, the leases of each, and the mark of the memory that they are in. ARGV: operation, now ('' for the server's clock), lease,
-- seconds that it lasts, the meters as JSON, the mark that the caller knows ('' at first), and one to set where none is.
-- Returns: outcome, now, the mark, and what the operation is for. Figures are texts: Redis would cut the fractions off.

local op, given, lease, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local meters = cjson.decode(ARGV[5])
local now = tonumber(given)
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end

local counts = {}

local function exact(number) return string.format('%.17g', number) end

-- A server that was restarted with nothing kept, or emptied, has lost its mark with the counts.
local mark = redis.call('GET', KEYS[#KEYS])
if not mark then
  mark = ARGV[7]
  redis.call('SET', KEYS[#KEYS], mark)
end
if ARGV[6] ~= '' and ARGV[6] ~= mark then return {'lost', exact(now), mark} end

for _, meter in ipairs(meters) do
  -- The caller reckons calendars, around the time that it takes to be the server's.
  if meter.starts and (now < meter.starts[1] or now >= meter.starts[#meter.starts]) then
    return {'clock', exact(now), mark}
  end
end

local function index(meter, at)
  if not meter.starts then return math.floor(at / meter.width) end
  local number = nil
  for i, start in ipairs(meter.starts) do
    if at >= start then number = meter.first + i - 1 end
  end
  return number
end

local function count_in(count, number, amount)
  if amount == 0 then return end
  local place = #count.spent + 1
  for i, entry in ipairs(count.spent) do
    if entry[1] == number then
      entry[2] = entry[2] + amount
      return
    end
    if entry[1] > number then
      place = i
      break
    end
  end
  table.insert(count.spent, place, {number, amount})
end

-- The last bucket that something was used or reserved in, or this one.
local function latest(count, number)
  local last = count.spent[#count.spent]
  return last and last[1] > number and last[1] or number
end

-- The leases of a count stand beside it: a thousand calls that are out would make it long, and each call writes it anew.
local function lease_of(text)
  local amount, expires = string.match(text, '(%S+) (%S+)')
  return tonumber(amount), tonumber(expires)
end

local function leases_key(i) return KEYS[#meters + i] end

local function tidied(i, count)
  local meter = meters[i]
  if meter.paced then
    count.due = math.min(count.due, now + meter.span * meter.burst)
    return count
  end
  if count.soonest and now >= count.soonest then
    local all, held, live, soonest = redis.call('HGETALL', leases_key(i)), 0, 0, nil
    for at = 1, #all, 2 do
      local amount, expires = lease_of(all[at + 1])
      if expires > now then
        held, live, soonest = held + amount, live + 1, math.min(soonest or expires, expires)
      else
        table.insert(count.expired, all[at])
        local number = index(meter, expires)
        if number then count_in(count, number, amount) end
      end
    end
    count.held, count.live, count.soonest = held, live, soonest
  end
  local spent, oldest = {}, index(meter, now) - 2 * meter.reach - 1
  for _, entry in ipairs(count.spent) do
    if entry[1] >= oldest then table.insert(spent, entry) end
  end
  count.spent = spent
  if count.outside[1] ~= 0 and count.outside[2] <= now then count.outside = {0, 0} end
  return count
end

local function load(i)
  local text = redis.call('GET', KEYS[i])
  local said = text and cjson.decode(text) or {{}, {0, 0, 0}, {0, 0}, 0}
  local held, live, soonest = unpack(said[2])
  return tidied(i, {
    spent = said[1], held = held, live = live, soonest = live > 0 and soonest or nil, outside = said[3], due = said[4],
    expired = {},
  })
end

-- `leases`: what stands for them.
local function text(count, leases)
  local spent = {}
  for _, entry in ipairs(count.spent) do
    table.insert(spent, '[' .. exact(entry[1]) .. ',' .. exact(entry[2]) .. ']')
  end
  return '[[' .. table.concat(spent, ',') .. '],[' .. leases .. '],['
    .. exact(count.outside[1]) .. ',' .. exact(count.outside[2]) .. '],' .. exact(count.due) .. ']'
end

-- What the caller needs to know of a count. Who holds the leases is nothing to it, and unless it `looks` until when.
local function told(i, looks)
  local count, last = counts[i], now + ttl
  if count.live == 0 then return text(count, '') end
  if looks then
    last = 0
    for _, each in ipairs(redis.call('HVALS', leases_key(i))) do
      local _, expires = lease_of(each)
      last = math.max(last, expires)
    end
  end
  return text(count, '["",' .. exact(count.held) .. ',' .. exact(last) .. ']')
end

local function save(i)
  local count = counts[i]
  for _, each in ipairs(count.expired) do
    -- One that has expired and is reserved anew by its name is written anew already.
    if op ~= 'reserve' or each ~= lease then redis.call('HDEL', leases_key(i), each) end
  end
  -- Two windows of memory, as everywhere, and time for what is out.
  local ms = (3 * meters[i].span * (meters[i].burst or 1) + ttl + 60) * 1000
  if count.live > 0 then ms = math.max(ms, redis.call('PTTL', leases_key(i))) end  -- one of them may last longer
  ms = string.format('%.0f', ms)
  local held = exact(count.held) .. ',' .. exact(count.live) .. ',' .. exact(count.soonest or 0)
  redis.call('SET', KEYS[i], text(count, held), 'PX', ms)
  if count.live > 0 then redis.call('PEXPIRE', leases_key(i), ms) end
end

local function used(meter, count)
  local total, oldest = count.outside[1], index(meter, now) - meter.reach
  for _, entry in ipairs(count.spent) do
    if entry[1] >= oldest then total = total + entry[2] end
  end
  return total + count.held
end

local function lacking(meter, count)
  if meter.amount > meter.limit then return true end
  if meter.paced then return now < count.due - (meter.burst - 1) * (meter.span / meter.limit) end
  return used(meter, count) + meter.amount > meter.limit
end

local function pace(meter, count)
  count.due = math.max(count.due, now) + meter.amount * (meter.span / meter.limit)
end

for i = 1, #meters do counts[i] = load(i) end

if op == 'reserve' then
  for i = 1, #meters do
    local held = redis.call('HGET', leases_key(i), lease)
    if held then
      local _, expires = lease_of(held)
      if expires > now then return {'granted', exact(now), mark} end  -- it was, and the answer was lost
    end
  end
  for i, meter in ipairs(meters) do
    if lacking(meter, counts[i]) then
      local answer = {'refused', exact(now), mark}
      for at = 1, #meters do table.insert(answer, told(at, false)) end
      return answer
    end
  end
  for i, meter in ipairs(meters) do
    local count = counts[i]
    if meter.paced then
      pace(meter, count)
    else
      local expires, number = now + ttl, index(meter, now)
      local last = count.spent[#count.spent]
      if not last or last[1] < number then table.insert(count.spent, {number, 0}) end
      redis.call('HSET', leases_key(i), lease, exact(meter.amount) .. ' ' .. exact(expires))
      count.held, count.live = count.held + meter.amount, count.live + 1
      count.soonest = math.min(count.soonest or expires, expires)
    end
    save(i)
  end
  return {'granted', exact(now), mark}
end

if op == 'usage' then
  local answer = {'counts', exact(now), mark}
  for i = 1, #meters do table.insert(answer, told(i, true)) end
  return answer
end

for i, meter in ipairs(meters) do
  local count = counts[i]
  if op == 'settle' then
    local held = redis.call('HGET', leases_key(i), lease)
    local amount, expires = 0, 0
    if held then amount, expires = lease_of(held) end
    if expires > now then
      redis.call('HDEL', leases_key(i), lease)
      count.live = count.live - 1
      count.held = count.live > 0 and count.held - amount or 0  -- no rounding outlasts the calls
      count_in(count, latest(count, index(meter, now)), meter.amount)
      save(i)
    end
  elseif op == 'spend' then
    if meter.paced then pace(meter, count) else count_in(count, index(meter, now), meter.amount) end
    save(i)
  elseif op == 'observe' and not meter.paced then
    local before = count.outside
    count.outside = {0, 0}
    local more = meter.limit - used(meter, count) - meter.remaining
    local ends = math.min(math.max(now + meter.ahead, now), now + meter.span)
    count.outside = before
    if more > 0 and (more > before[1] or (more == before[1] and ends > before[2])) then
      count.outside = {more, ends}
      save(i)
    end
  end
end
return {'done', exact(now), mark}

-- One call on a ledger's counts, atomic and on the server's clock. It says what `providers/limits/reserve.py` says.
-- KEYS: the counts, and the mark of the memory that they are in. ARGV: operation, now ('' for the server's clock), lease,
-- seconds that it lasts, the meters as JSON, the mark that the caller knows ('' at first), and one to set where none is.
-- Returns: outcome, now, the mark, and what the operation is for. Figures are texts: Redis would cut the fractions off.

local op, given, lease, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local meters = cjson.decode(ARGV[5])
local now = tonumber(given)
if not now then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end

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

local function tidied(meter, count)
  if meter.paced then
    count.due = math.min(count.due, now + meter.span * meter.burst)
    return count
  end
  local leases, spent = {}, {}
  for _, each in ipairs(count.leases) do
    if each[3] > now then
      table.insert(leases, each)
    else
      local number = index(meter, each[3])
      if number then count_in(count, number, each[2]) end
    end
  end
  local oldest = index(meter, now) - 2 * meter.reach - 1
  for _, entry in ipairs(count.spent) do
    if entry[1] >= oldest then table.insert(spent, entry) end
  end
  count.leases, count.spent = leases, spent
  if count.outside[1] ~= 0 and count.outside[2] <= now then count.outside = {0, 0} end
  return count
end

local function load(i)
  local text = redis.call('GET', KEYS[i])
  local said = text and cjson.decode(text) or {{}, {}, {0, 0}, 0}
  return tidied(meters[i], {spent = said[1], leases = said[2], outside = said[3], due = said[4]})
end

local function text(count)
  local spent, leases = {}, {}
  for _, entry in ipairs(count.spent) do
    table.insert(spent, '[' .. exact(entry[1]) .. ',' .. exact(entry[2]) .. ']')
  end
  for _, each in ipairs(count.leases) do
    table.insert(leases, '[' .. cjson.encode(each[1]) .. ',' .. exact(each[2]) .. ',' .. exact(each[3]) .. ']')
  end
  return '[[' .. table.concat(spent, ',') .. '],[' .. table.concat(leases, ',') .. '],['
    .. exact(count.outside[1]) .. ',' .. exact(count.outside[2]) .. '],' .. exact(count.due) .. ']'
end

local function save(i, count)
  -- Two windows of memory, as everywhere, and time for what is out.
  local seconds = 3 * meters[i].span * (meters[i].burst or 1) + ttl + 60
  redis.call('SET', KEYS[i], text(count), 'PX', string.format('%.0f', seconds * 1000))
end

local function used(meter, count)
  local total, oldest = count.outside[1], index(meter, now) - meter.reach
  for _, entry in ipairs(count.spent) do
    if entry[1] >= oldest then total = total + entry[2] end
  end
  for _, each in ipairs(count.leases) do total = total + each[2] end
  return total
end

local function lacking(meter, count)
  if meter.amount > meter.limit then return true end
  if meter.paced then return now < count.due - (meter.burst - 1) * (meter.span / meter.limit) end
  return used(meter, count) + meter.amount > meter.limit
end

local function pace(meter, count)
  count.due = math.max(count.due, now) + meter.amount * (meter.span / meter.limit)
end

local counts = {}
for i = 1, #meters do counts[i] = load(i) end

if op == 'reserve' then
  for _, count in ipairs(counts) do
    for _, each in ipairs(count.leases) do
      if each[1] == lease then return {'granted', exact(now), mark} end  -- it was, and the answer was lost
    end
  end
  for i, meter in ipairs(meters) do
    if lacking(meter, counts[i]) then
      local answer = {'refused', exact(now), mark}
      for _, count in ipairs(counts) do table.insert(answer, text(count)) end
      return answer
    end
  end
  for i, meter in ipairs(meters) do
    local count = counts[i]
    if meter.paced then
      pace(meter, count)
    else
      table.insert(count.leases, {lease, meter.amount, now + ttl})
    end
    save(i, count)
  end
  return {'granted', exact(now), mark}
end

if op == 'usage' then
  local answer = {'counts', exact(now), mark}
  for _, count in ipairs(counts) do table.insert(answer, text(count)) end
  return answer
end

for i, meter in ipairs(meters) do
  local count = counts[i]
  if op == 'settle' then
    for at, each in ipairs(count.leases) do
      if each[1] == lease then
        table.remove(count.leases, at)
        count_in(count, index(meter, now), meter.amount)
        save(i, count)
        break
      end
    end
  elseif op == 'spend' then
    if meter.paced then pace(meter, count) else count_in(count, index(meter, now), meter.amount) end
    save(i, count)
  elseif op == 'observe' and not meter.paced then
    local before = count.outside
    count.outside = {0, 0}
    local more = meter.limit - used(meter, count) - meter.remaining
    local ends = math.min(math.max(now + meter.ahead, now), now + meter.span)
    count.outside = before
    if more > 0 and (more > before[1] or (more == before[1] and ends > before[2])) then
      count.outside = {more, ends}
      save(i, count)
    end
  end
end
return {'done', exact(now), mark}

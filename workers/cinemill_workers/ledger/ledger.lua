-- The ledger's atomic transitions.
--
-- ARGV[1]  the operation
-- ARGV[2]  its arguments, a JSON object; `id` names the job
-- ARGV[3]  finish, teach: the receipt or failure to store
--
-- A job's work is divided into parcels. A parcel waits in `pending` (scored by the time it may start, 0 for at once) or
-- is claimed (`leases`, scored by the time the claim ends). Its number is drawn once, and padded so that parcels of one
-- score keep their order. Whoever holds a number that is no longer in `work` has lost the parcel, and nothing he
-- reports changes a counter.

local operation, args = ARGV[1], cjson.decode(ARGV[2])
local ACTIVE, JOBS, WORKERS, TOTALS = "cinemill:active", "cinemill:jobs", "cinemill:workers", "cinemill:totals"
local COUNTERS = {"bytes_in", "bytes_out", "pixel_bytes", "retries"}
local job, work, pending, leases, progress, holders, receipts, failures

local function choose(id)
    job = "cinemill:job:" .. id
    work, pending, leases = job .. ":work", job .. ":pending", job .. ":leases"
    progress, holders = job .. ":progress", job .. ":holders"
    receipts, failures = job .. ":receipts", job .. ":failures"
end

local function now()
    local time = redis.call("TIME")
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function get(field) return redis.call("HGET", job, field) end
local function set(...) redis.call("HSET", job, ...) end
local function add(field, amount) redis.call("HINCRBY", job, field, amount) end
local function number(field) return tonumber(get(field) or "0") end

local function put(items, bytes, attempt, ready)
    local parcel = string.format("%09d", redis.call("HINCRBY", job, "parcels", 1))
    redis.call("HSET", work, parcel, cjson.encode({items = items, bytes = bytes, attempt = attempt}))
    redis.call("ZADD", pending, ready, parcel)
end

local function forget(parcel)
    redis.call("HDEL", work, parcel)
    redis.call("HDEL", progress, parcel)
    redis.call("HDEL", holders, parcel)
    redis.call("ZREM", leases, parcel)
end

local function close_when_complete()
    local state = get("state")
    if number("pending") + number("running") > 0 then return end
    if state == "cancelled" or (state ~= "done" and get("exhausted") == "1") then
        if state ~= "cancelled" then set("state", "done") end
        set("finished", now())
        redis.call("SREM", ACTIVE, args.id)
    end
end

-- Hand back a claimed parcel's items behind the first ones: they wait again, or are cancelled with their job.
local function give_back(parcel, first)
    local count = #parcel.items - first
    if count <= 0 then return end
    add("running", -count)
    if get("state") == "cancelled" then
        add("cancelled", count)
        return
    end
    add("pending", count)
    put({unpack(parcel.items, first + 1)}, {unpack(parcel.bytes, first + 1)}, parcel.attempt, 0)
end

local function claimed(parcel_number, position)
    local text = redis.call("HGET", work, parcel_number)
    if not text or not redis.call("ZSCORE", leases, parcel_number) then return nil end
    if tonumber(redis.call("HGET", progress, parcel_number)) ~= position then return nil end
    return cjson.decode(text)
end

local operations = {}

-- Add freshly listed parcels, if nobody else listed them meanwhile. Returns the number of waiting parcels, or -1.
function operations.feed()
    if get("listed") ~= tostring(args.listed) or get("exhausted") == "1" then return -1 end
    local state = get("state")
    if state == "cancelled" or state == "done" then return -1 end
    local count = 0
    for _, parcel in ipairs(args.parcels) do
        put(parcel.items, parcel.bytes, 0, 0)
        count = count + #parcel.items
    end
    add("listed", count)
    add("pending", count)
    if count > 0 then set("cursor", args.cursor) end
    if args.exhausted then set("exhausted", "1") end
    close_when_complete()
    return redis.call("ZCARD", pending)
end

-- The next parcel of the chosen job that may start now, or nil.
local function next_parcel(time)
    if get("state") ~= "running" or number("next_start") > time then return nil end
    return redis.call("ZRANGEBYSCORE", pending, "-inf", time, "LIMIT", 0, 1)[1]
end

-- Delay the chosen job's next start by what its rate (bytes a second) asks for these bytes.
local function throttle(sizes, time)
    local rate, bytes = number("rate"), 0
    if rate == 0 then return end
    for _, size in ipairs(sizes) do bytes = bytes + size end
    set("next_start", math.max(time - args.burst, number("next_start")) + math.ceil(bytes * 1000 / rate))
end

-- A parcel of a running job that the caller holds already: the answer to an earlier claim or report went astray.
local function held_already(time)
    for _, id in ipairs(redis.call("SMEMBERS", ACTIVE)) do
        choose(id)
        local held = redis.call("HGETALL", holders)
        for i = 1, #held, 2 do
            if held[i + 1] == args.holder and get("state") == "running" then
                redis.call("ZADD", leases, time + args.lease, held[i])
                return id, held[i]
            end
        end
    end
end

-- The answer to a claim: {job, number, parcel, position, dictionary, parcels waiting or claimed in all running jobs}.
local function answer(id, parcel_number, outstanding)
    local position = redis.call("HGET", progress, parcel_number)
    return {id, parcel_number, redis.call("HGET", work, parcel_number), position, get("dictionary") or "", outstanding}
end

-- Take a parcel of the job of this priority that was served least recently; nothing if none may start.
function operations.claim()
    local time = now()
    local held_in, held = held_already(time)
    if held then return answer(held_in, held, 1) end
    local outstanding, served, chosen, parcel_number = 0, math.huge, nil, nil
    for _, id in ipairs(redis.call("SMEMBERS", ACTIVE)) do
        choose(id)
        if get("state") == "running" then
            outstanding = outstanding + redis.call("ZCARD", pending) + redis.call("ZCARD", leases)
        end
        if get("priority") == args.priority and number("served") < served then
            local candidate = next_parcel(time)
            if candidate then chosen, parcel_number, served = id, candidate, number("served") end
        end
    end
    if not chosen then return false end
    choose(chosen)
    local parcel = cjson.decode(redis.call("HGET", work, parcel_number))
    throttle(parcel.bytes, time)
    redis.call("ZREM", pending, parcel_number)
    redis.call("ZADD", leases, time + args.lease, parcel_number)
    redis.call("HSET", progress, parcel_number, 0)
    redis.call("HSET", holders, parcel_number, args.holder)
    add("pending", -#parcel.items)
    add("running", #parcel.items)
    set("served", redis.call("INCR", "cinemill:served"))
    redis.call("HSETNX", job, "started", time)
    return answer(chosen, parcel_number, outstanding)
end

-- Prolong a claim. Returns the job's state, or "lost".
function operations.renew()
    if not redis.call("ZSCORE", leases, args.parcel) then return "lost" end
    redis.call("ZADD", leases, now() + args.lease, args.parcel)
    return get("state")
end

-- Record what became of one item, in order. Returns the job's state, or "lost" when the claim was taken away.
function operations.finish()
    local told_before = not args.expired and claimed(args.parcel, args.position + 1)
    if told_before then return get("state") end
    local parcel = claimed(args.parcel, args.position)
    if not parcel then return "lost" end
    if args.expired and tonumber(redis.call("ZSCORE", leases, args.parcel)) > now() then return "lost" end
    local item = parcel.items[args.position + 1]
    add("running", -1)
    if args.state == "retry" and get("state") == "cancelled" then args.state = "cancelled" end
    if args.state == "retry" then
        add("pending", 1)
        add("retries", 1)
        put({item}, {parcel.bytes[args.position + 1]}, parcel.attempt + 1, now() + args.delay)
    else
        add(args.state, 1)
        if args.state == "failed" or args.state == "quarantined" then
            redis.call("HSET", failures, args.item, ARGV[3])
        elseif args.state ~= "cancelled" then
            redis.call("RPUSH", receipts, ARGV[3])
            redis.call("HDEL", job, "note")
        end
        if args.status and args.state ~= "cancelled" then add("status:" .. args.status, 1) end
        add("bytes_in", args.bytes_in)
        add("bytes_out", args.bytes_out)
        add("pixel_bytes", args.pixel_bytes)
    end
    if args.release then
        give_back(parcel, args.position + 1)
        forget(args.parcel)
    elseif args.position + 1 == #parcel.items then
        forget(args.parcel)
    else
        redis.call("HSET", progress, args.parcel, args.position + 1)
        redis.call("ZADD", leases, now() + args.lease, args.parcel)
    end
    close_when_complete()
    return get("state")
end

-- Hand back what is left of a claimed parcel, uncounted; with a note and a delay, the whole job rests as well.
function operations.release()
    local parcel = claimed(args.parcel, args.position)
    if not parcel then return "lost" end
    give_back(parcel, args.position)
    forget(args.parcel)
    if args.delay > 0 then
        set("next_start", math.max(now() + args.delay, number("next_start")))
        set("note", args.note)
    end
    close_when_complete()
    return get("state")
end

-- Move the job from one of the states `origins` to another; cancelling drops whatever waits. Returns the state it has.
function operations.move()
    local state = get("state")
    if not state then return "gone" end
    local allowed = false
    for _, from in ipairs(args.origins) do allowed = allowed or from == state end
    if not allowed then return state end
    set("state", args.to)
    if args.to == "running" then set("next_start", 0) end
    if args.to == "cancelled" then
        for _, parcel_number in ipairs(redis.call("ZRANGE", pending, 0, -1)) do
            redis.call("HDEL", work, parcel_number)
        end
        redis.call("DEL", pending)
        add("cancelled", number("pending"))
        set("pending", 0)
    end
    if args.note then set("note", args.note) else redis.call("HDEL", job, "note") end
    close_when_complete()
    return get("state")
end

-- Let one failed or quarantined item wait again. Returns 1, or 0 when somebody else did it before.
function operations.again()
    if redis.call("HDEL", failures, args.item) == 0 then return 0 end
    add(args.state, -1)
    if args.status then add("status:" .. args.status, -1) end
    add("bytes_in", -args.bytes_in)
    redis.call("HINCRBY", TOTALS, "bytes_in", args.bytes_in)
    add("pending", 1)
    put({args.text}, {args.bytes}, 0, 0)
    if get("state") == "done" then
        set("state", "running")
        redis.call("HDEL", job, "finished")
    end
    redis.call("SADD", ACTIVE, args.id)
    return 1
end

-- Make a receipt the one that all others of the job are compressed against, if it is the first. Returns that one.
function operations.teach()
    if redis.call("EXISTS", job) == 0 then return ARGV[3] end
    redis.call("HSETNX", job, "dictionary", ARGV[3])
    return get("dictionary")
end

-- What all jobs ever counted, whether or not they are forgotten: never less than before.
function operations.totals()
    local sums = {}
    for i, field in ipairs(COUNTERS) do sums[i] = tonumber(redis.call("HGET", TOTALS, field) or "0") end
    for _, id in ipairs(redis.call("ZRANGE", JOBS, 0, -1)) do
        choose(id)
        for i, field in ipairs(COUNTERS) do sums[i] = sums[i] + number(field) end
    end
    return sums
end

-- Forget a job that is over; what it counted stays in the totals. Returns 1, or 0 when it is not over.
function operations.delete()
    if redis.call("SISMEMBER", ACTIVE, args.id) == 1 then return 0 end
    for _, field in ipairs(COUNTERS) do redis.call("HINCRBY", TOTALS, field, number(field)) end
    redis.call("UNLINK", job, work, pending, leases, progress, holders, receipts, failures)
    redis.call("ZREM", JOBS, args.id)
    return 1
end

if args.worker then redis.call("ZADD", WORKERS, now() / 1000, args.worker) end
if args.id then choose(args.id) end
return operations[operation]()

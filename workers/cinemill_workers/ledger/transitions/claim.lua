-- Take a parcel of the job whose turn it is: first by priority, then the one that was served least recently; nothing if
-- none may start. A job of which fewer than `low` parcels wait is told of, to be listed further.

local shape = {
    priorities = LIST, holder = TEXT, claim = TEXT, worker = TEXT, lease = INTEGER, burst = INTEGER, low = INTEGER,
}
local traits = {begins = true, moves = true}

-- Choose the job of a priority whose turn it is, and return its parcel that may start now; nil if there is none.
local function next_of(priority, time)
    for _ = 1, DUE_AT_ONCE do
        local id = redis.call("ZRANGE", READY .. priority, 0, 0)[1]
        if not id then return nil end
        choose(id)
        local starts = get("state") == "running" and number("next_start") <= time
        local parcel = starts and redis.call("ZRANGEBYSCORE", pending, "-inf", time, "LIMIT", 0, 1)[1]
        if parcel then return parcel end
        place()
        redis.call("ZREM", READY .. priority, id)
    end
end

-- Of 16 claims, 12 begin with the first of the priorities, three with the second, one with the third; whichever has
-- nothing leaves its turn to the others, in their order.
local function begins_with(turn)
    turn = turn % 16
    if turn == 7 then return 3 end
    return turn % 5 == 3 and 2 or 1
end

-- Choose the job whose turn it is, and return its parcel that may start now; nil if there is none.
local function next_parcel(time)
    for _, id in ipairs(redis.call("ZRANGEBYSCORE", LATER, "-inf", time, "LIMIT", 0, DUE_AT_ONCE)) do
        choose(id)
        place()
    end
    local first = args.priorities[begins_with(tonumber(redis.call("GET", SERVED) or 0))]
    local found = first and next_of(first, time)
    for _, priority in ipairs(args.priorities) do
        if found then return found end
        if priority ~= first then found = next_of(priority, time) end
    end
    return found
end

local function sum(sizes)
    local bytes = 0
    for _, size in ipairs(sizes) do bytes = bytes + size end
    return bytes
end

-- Parcels that are claimed, or wait in the chosen job, and one for each other job of its priority that may start.
local function outstanding(waiting)
    return redis.call("ZCARD", CLAIMED) + waiting + redis.call("ZCARD", READY .. (get("priority") or "")) - 1
end

-- The answer to a claim: {job, number, parcel, position, how many parcels keep workers busy at least}.
local function answer(id, parcel_number, text, position, busy)
    return {id, parcel_number, text, position, busy}
end

-- What a claim of this name has got already, when its answer went astray and it is made again.
local function answered_before(name)
    local text = redis.call("GET", CLAIM .. name)
    if not text then return nil end
    local before = cjson.decode(text)
    choose(before[1])
    local holder, position = held(before[2])
    if holder == name then return answer(before[1], before[2], redis.call("HGET", work, before[2]), position, 1) end
end

local function operate()
    local time, name = now(), args.holder .. "/" .. args.claim
    local before = answered_before(name)
    if before then return before end
    local parcel_number = next_parcel(time)
    if not parcel_number then return false end
    local text = redis.call("HGET", work, parcel_number)
    local parcel = cjson.decode(text)
    throttle(sum(parcel.bytes), args.burst)
    redis.call("ZREM", pending, parcel_number)
    lease(parcel_number)
    hold(parcel_number, name, 0)
    redis.call("SET", CLAIM .. name, cjson.encode({chosen, parcel_number}), "PX", math.max(1, args.lease))
    add("pending", -#parcel.items)
    add("running", #parcel.items)
    set("served", redis.call("INCR", SERVED))
    if not get("started") then set("started", time) end
    local waiting = redis.call("ZCARD", pending)
    if waiting < args.low and get("exhausted") ~= "1" then tell() end
    return answer(chosen, parcel_number, text, 0, outstanding(waiting))
end

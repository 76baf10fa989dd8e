-- The ledger's atomic transitions.
--
-- ARGV[1]  the operation
-- ARGV[2]  its arguments, a JSON object; `id` names the job
-- ARGV[3]  finish: the record of what became of the item, a JSON object
--
-- A job's work is divided into parcels. A parcel waits in `pending` (scored by the time it may start, 0 for at once) or
-- is claimed (`CLAIMED`, scored by the time the claim ends; `holders` has the claim's name, and how far its holder is).
-- Its number is drawn once, and padded so that parcels of one score keep their order. A claim's name is never given
-- again: whoever reports under another name has lost the parcel, and nothing he reports changes a counter.
--
-- What became of an item waits in the stream `settled` until it stands in a file. Jobs that have something to be
-- written down are in `UNWRITTEN`. Of a failure, only what it counted stays: `failures`.
--
-- The fields of a job are read at once, changed in memory and written at once, at the end.
--
-- A caller of another layout of the ledger, and one that led and does so no more, changes nothing: see `LAYOUT`, `LEADER`.
--
-- Redis takes nothing back of an operation that fails midway: whatever can be wrong with arguments is found before.

local operation, args = ARGV[1], cjson.decode(ARGV[2])
local ACTIVE, JOBS, WORKERS, TOTALS = "cinemill:active", "cinemill:jobs", "cinemill:workers", "cinemill:totals"
local UNWRITTEN = "cinemill:unwritten"
local CLAIM, CLAIMED = "cinemill:claim:", "cinemill:claimed"
local READY, LATER, SERVED = "cinemill:ready:", "cinemill:later", "cinemill:served"
local DUE, LAYOUT, LEADER = "cinemill:due", "cinemill:layout", "cinemill:leader"
local DUE_AT_ONCE = 100
local UNNUMBERED = 1 -- the layout of ledgers in which none is noted
local NEVER = 1e15 -- jobs never served come first, in the order in which they could have been
local COUNTERS = {"bytes_in", "bytes_out", "pixel_bytes", "retries"}
local FIELDS = {
    "state", "pending", "running", "exhausted", "priority", "next_start", "served", "note", "storage_errors", "rests",
    "unwritten", "rate", "started", "retries", "bytes_in", "bytes_out", "pixel_bytes",
}
for _, name in ipairs({args.state, args.status and "status:" .. args.status}) do FIELDS[#FIELDS + 1] = name end
if args.did then
    for _, name in ipairs({"instances", "before", "after"}) do FIELDS[#FIELDS + 1] = "did:" .. name .. ":" .. args.did end
end
local chosen, job, work, pending, holders, settled, failures
local known, changed = nil, {}

-- Write what was set in the chosen job, all at once.
local function write()
    local new, gone = {}, {}
    for field, value in pairs(changed) do
        if value == false then
            gone[#gone + 1] = field
        else
            new[#new + 1] = field
            new[#new + 1] = type(value) == "number" and string.format("%.0f", value) or value
        end
    end
    if #new > 0 then redis.call("HSET", job, unpack(new)) end
    if #gone > 0 then redis.call("HDEL", job, unpack(gone)) end
    changed = {}
end

local function choose(id)
    write()
    known = nil
    chosen, job = id, "cinemill:job:" .. id
    work, pending = job .. ":work", job .. ":pending"
    holders, settled, failures = job .. ":holders", job .. ":settled", job .. ":failures"
end

local moment
local function now()
    if not moment then
        local time = redis.call("TIME")
        moment = time[1] * 1000 + math.floor(time[2] / 1000)
    end
    return moment
end

local INTEGER, TEXT, LIST, FLAG = "number", "string", "table", "boolean"
local SHAPES = {
    feed = {id = TEXT, listed = INTEGER, parcels = LIST, exhausted = FLAG, cursor = TEXT},
    claim = {
        priorities = LIST, holder = TEXT, claim = TEXT, worker = TEXT, lease = INTEGER, burst = INTEGER, low = INTEGER,
    },
    renew = {id = TEXT, parcel = TEXT, holder = TEXT, worker = TEXT, lease = INTEGER},
    finish = {
        id = TEXT, parcel = TEXT, holder = TEXT, position = INTEGER, item = INTEGER, state = TEXT, delay = INTEGER,
        count = INTEGER, expired = FLAG, release = FLAG, bytes_in = INTEGER, bytes_out = INTEGER, pixel_bytes = INTEGER,
    },
    release = {id = TEXT, parcel = TEXT, holder = TEXT, position = INTEGER, delay = INTEGER, note = TEXT},
    move = {id = TEXT, origins = LIST, state = TEXT},
    again = {id = TEXT, item = INTEGER, text = TEXT, bytes = INTEGER},
    stumble = {
        id = TEXT, parcel = TEXT, holder = TEXT, position = INTEGER, most = INTEGER, rests = INTEGER, delay = INTEGER,
        note = TEXT,
    },
    written = {id = TEXT, described = TEXT},
    recount = {id = TEXT},
    totals = {},
    look = {priorities = LIST, most = INTEGER},
    layout = {layout = INTEGER, raises = FLAG},
    delete = {id = TEXT, force = FLAG},
}
local OPTIONAL = {
    id = TEXT, state = TEXT, status = TEXT, note = TEXT, worker = TEXT, awaits = TEXT, roots = TEXT, segment = TEXT,
    did = TEXT, before = TEXT, layout = INTEGER, leader = TEXT,
}
local STATES = {
    finish = {done = true, copied = true, skipped = true, failed = true, quarantined = true, cancelled = true, retry = true},
    move = {running = true, waiting = true, paused = true, cancelled = true, done = true},
}
local MOVING = {
    feed = true, claim = true, finish = true, release = true, stumble = true, move = true, again = true, recount = true,
}
local BEGINNING = {feed = true, claim = true, move = true, again = true} -- what only callers of this layout may do
local TELLING = {move = true, again = true} -- what the leader has to look at
local EXACT = 2 ^ 53

local function is_count(value)
    return type(value) == INTEGER and value >= 0 and value < EXACT and value == math.floor(value)
end

local function each_is(list, is)
    for _, value in ipairs(list) do
        if not is(value) then return false end
    end
    return true
end

local function is_text(value) return type(value) == TEXT end

local function is_parcel(value)
    return type(value) == LIST and type(value.items) == LIST and type(value.bytes) == LIST
        and #value.items > 0 and #value.items == #value.bytes
        and each_is(value.items, is_text) and each_is(value.bytes, is_count)
end

local function refusal()
    local shape = SHAPES[operation]
    if not shape then return "operation" end
    for name, kind in pairs(shape) do
        local value = args[name]
        if type(value) ~= kind or (kind == INTEGER and not is_count(value)) then return name end
    end
    for name, kind in pairs(OPTIONAL) do
        if args[name] ~= nil and type(args[name]) ~= kind then return name end
    end
    if shape.parcels and not each_is(args.parcels, is_parcel) then return "parcels" end
    if shape.origins and not each_is(args.origins, is_text) then return "origins" end
    if shape.priorities and not each_is(args.priorities, is_text) then return "priorities" end
    if STATES[operation] and not STATES[operation][args.state] then return "state" end
    if args.before and not string.match(args.before, "^%d+%-%d+$") then return "before" end
    if not ARGV[3] or (operation == "finish" and ARGV[3] == "") then return "record" end
end

-- A field of the chosen job, false if it has none; most are read at once.
local function get(field)
    if not known then
        known = {}
        for i, value in ipairs(redis.call("HMGET", job, unpack(FIELDS))) do known[FIELDS[i]] = value end
    end
    if known[field] == nil then known[field] = redis.call("HGET", job, field) end
    return known[field]
end

local function set(field, value)
    get(field)
    known[field], changed[field] = value, value
end

local function drop(...)
    for _, field in ipairs({...}) do
        if get(field) then set(field, false) end
    end
end

local function increase(key, field, amount)
    if amount ~= 0 then redis.call("HINCRBY", key, field, string.format("%.0f", amount)) end
end
local function number(field) return tonumber(get(field) or "0") end
local function add(field, amount)
    if amount ~= 0 then set(field, number(field) + amount) end
end

local function put(items, bytes, attempt, ready)
    add("parcels", 1)
    local parcel = string.format("%09d", number("parcels"))
    redis.call("HSET", work, parcel, cjson.encode({items = items, bytes = bytes, attempt = attempt}))
    redis.call("ZADD", pending, ready, parcel)
end

local function forget(parcel)
    redis.call("HDEL", work, parcel)
    redis.call("HDEL", holders, parcel)
    redis.call("ZREM", CLAIMED, chosen .. ":" .. parcel)
end

-- Let a claim on a parcel of the chosen job end so much later.
local function lease(parcel) redis.call("ZADD", CLAIMED, now() + args.lease, chosen .. ":" .. parcel) end

-- When the claim on a parcel of the chosen job ends.
local function ending(parcel) return tonumber(redis.call("ZSCORE", CLAIMED, chosen .. ":" .. parcel) or 0) end

-- Have the leader look at the chosen job soon.
local function tell() redis.call("ZADD", DUE, "NX", now(), chosen) end

-- Put the chosen job where claims look for it: `READY` by whose turn it is, `LATER` by when it may start.
local function place()
    local ready = READY .. (get("priority") or "")
    local first = get("state") == "running" and redis.call("ZRANGE", pending, 0, 0, "WITHSCORES") or {}
    local start = first[2] and math.max(tonumber(first[2]), number("next_start"))
    if start and not get("served") then set("served", redis.call("INCR", SERVED) - NEVER) end
    if start and start <= now() then
        redis.call("ZADD", ready, number("served"), chosen)
    else
        redis.call("ZREM", ready, chosen)
    end
    if start and start > now() then
        redis.call("ZADD", LATER, start, chosen)
    else
        redis.call("ZREM", LATER, chosen)
    end
end

-- Have whoever writes files down look at the chosen job.
local function owe()
    if get("unwritten") then return end
    redis.call("SADD", UNWRITTEN, chosen)
    set("unwritten", "1")
end

local function close_when_complete()
    local state = get("state")
    if number("pending") + number("running") > 0 then return end
    if state == "cancelled" or (state ~= "done" and get("exhausted") == "1") then
        if state ~= "cancelled" then set("state", "done") end
        set("finished", now())
        redis.call("SREM", ACTIVE, args.id)
        owe()
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

-- Who holds a parcel, and how far he is with it; nil for each if nobody does.
local function held(parcel_number)
    local name, position = string.match(redis.call("HGET", holders, parcel_number) or "", "^(.*) (%d+)$")
    return name, tonumber(position)
end

local function hold(parcel_number, name, position)
    redis.call("HSET", holders, parcel_number, name .. " " .. position)
end

-- How far the caller is with a parcel that it holds; nil if it does not.
local function position_of(parcel_number)
    local name, position = held(parcel_number)
    return name == args.holder and position or nil
end

local function parcel_of(parcel_number) return cjson.decode(redis.call("HGET", work, parcel_number)) end

local operations = {}

-- Add freshly listed parcels, if nobody else listed them meanwhile. Returns the number of waiting parcels, or -1.
function operations.feed()
    if args.roots and get("listed") and not get("roots") then set("roots", args.roots) end
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

-- Delay the chosen job's next start by what its rate (bytes a second) asks for these bytes.
local function throttle(sizes, time)
    local rate, bytes = number("rate"), 0
    if rate == 0 then return end
    for _, size in ipairs(sizes) do bytes = bytes + size end
    set("next_start", math.max(time - args.burst, number("next_start")) + math.ceil(bytes * 1000 / rate))
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

-- Take a parcel of the job whose turn it is: first by priority, then the one that was served least recently; nothing if
-- none may start. A job of which fewer than `low` parcels wait is told of, to be listed further.
function operations.claim()
    local time, name = now(), args.holder .. "/" .. args.claim
    local before = answered_before(name)
    if before then return before end
    local parcel_number = next_parcel(time)
    if not parcel_number then return false end
    local text = redis.call("HGET", work, parcel_number)
    local parcel = cjson.decode(text)
    throttle(parcel.bytes, time)
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

-- Prolong a claim. Returns the job's state, or "lost".
function operations.renew()
    if held(args.parcel) ~= args.holder then return "lost" end
    lease(args.parcel)
    return get("state")
end

-- Record what became of one item, in order. Returns the job's state, or "lost" when the claim was taken away.
function operations.finish()
    local position = position_of(args.parcel)
    if position == args.position + 1 and not args.expired then return get("state") end
    if position ~= args.position or args.position >= args.count then return "lost" end
    if args.expired and ending(args.parcel) > now() then return "lost" end
    local parcel = (args.state == "retry" or args.release) and parcel_of(args.parcel)
    add("running", -1)
    if args.state == "retry" and get("state") == "cancelled" then args.state = "cancelled" end
    if args.state == "retry" then
        add("pending", 1)
        add("retries", 1)
        local item, size = parcel.items[args.position + 1], parcel.bytes[args.position + 1]
        put({item}, {size}, parcel.attempt + 1, now() + args.delay)
    else
        add(args.state, 1)
        if args.state == "failed" or args.state == "quarantined" then
            local counted = string.format("%s %.0f %s", args.state, args.bytes_in, args.status or "")
            redis.call("HSET", failures, args.item, counted)
        elseif args.state ~= "cancelled" then
            drop("storage_errors", "rests")
            if get("state") ~= "paused" then drop("note") end
        end
        redis.call("XADD", settled, "*", "state", args.state, "record", ARGV[3])
        owe()
        if args.status and args.state ~= "cancelled" then add("status:" .. args.status, 1) end
        if args.did then
            for name, amount in pairs({instances = 1, before = args.bytes_in, after = args.bytes_out}) do
                add("did:" .. name .. ":" .. args.did, amount)
            end
        end
        add("bytes_in", args.bytes_in)
        add("bytes_out", args.bytes_out)
        add("pixel_bytes", args.pixel_bytes)
    end
    if args.release then give_back(parcel, args.position + 1) end
    if args.release or args.position + 1 == args.count then
        forget(args.parcel)
    else
        hold(args.parcel, args.holder, string.format("%.0f", args.position + 1))
    end
    close_when_complete()
    return get("state")
end

local function rest(delay, note)
    set("next_start", math.max(now() + delay, number("next_start")))
    set("note", note)
end

-- Hand back what is left of a claimed parcel, uncounted; with a note and a delay, the whole job rests as well.
function operations.release()
    if position_of(args.parcel) ~= args.position then return "lost" end
    give_back(parcel_of(args.parcel), args.position)
    forget(args.parcel)
    if args.delay > 0 then rest(args.delay, args.note) end
    close_when_complete()
    return get("state")
end

-- Count an error of the storage on an item that had none before. Once there were `most` without an item done between
-- them, whatever is claimed goes back and the job rests, but no more than `rests` times. Returns whether the job rests.
function operations.stumble()
    if position_of(args.parcel) ~= args.position then return 0 end
    local parcel = parcel_of(args.parcel)
    if parcel.attempt == 0 then add("storage_errors", 1) end
    if number("storage_errors") < args.most or number("rests") >= args.rests then return 0 end
    if number("next_start") <= now() then add("rests", 1) end
    give_back(parcel, args.position)
    forget(args.parcel)
    rest(args.delay, args.note)
    close_when_complete()
    return 1
end

-- Move the job from one of the states `origins` to another; cancelling drops whatever waits. Returns the state it has.
-- A pause may await something; a job that goes on without it takes the roots of its trees as they are from then on.
function operations.move()
    local state = get("state")
    if not state then return "gone" end
    local allowed = false
    for _, from in ipairs(args.origins) do allowed = allowed or from == state end
    if not allowed then return state end
    set("state", args.state)
    if args.state == "running" then
        set("next_start", 0)
        drop("storage_errors")
        if get("awaits") == "roots" and args.awaits ~= "roots" then drop("roots") end -- somebody takes them as they are
    end
    if args.state == "paused" and args.awaits then set("awaits", args.awaits) else drop("awaits") end
    if args.state == "cancelled" then
        for _, parcel_number in ipairs(redis.call("ZRANGE", pending, 0, -1)) do
            redis.call("HDEL", work, parcel_number)
        end
        redis.call("DEL", pending)
        add("cancelled", number("pending"))
        set("pending", 0)
    end
    if args.note then set("note", args.note) else drop("note") end
    close_when_complete()
    return get("state")
end

-- Let one failed or quarantined item wait again. Returns 1, or 0 when somebody else did it before.
function operations.again()
    local counted = get("state") and redis.call("HGET", failures, args.item) or ""
    local state, bytes, status = string.match(counted, "^(%l+) (%d+) (.*)$")
    if not state then return 0 end
    redis.call("HDEL", failures, args.item)
    add(state, -1)
    if status ~= "" then add("status:" .. status, -1) end
    add("bytes_in", -tonumber(bytes))
    increase(TOTALS, "bytes_in", tonumber(bytes))
    add("pending", 1)
    put({args.text}, {args.bytes}, 0, 0)
    if get("state") == "done" then
        set("state", "running")
        drop("finished")
    end
    redis.call("SADD", ACTIVE, args.id)
    owe()
    return 1
end

-- Note that the records before one stand in a segment, and drop them; or, with none, that a segment is begun. Only the
-- segment begun last counts: what another one has got besides is written again. A job whose records are all written, and
-- whose end is described, is let go. Returns 1, or 0 when there is a later segment, or no job.
function operations.written()
    if not get("state") then return 0 end
    if args.segment then
        if (get("segment") or "") > args.segment then return 0 end
        set("segment", args.segment)
    end
    if args.before then redis.call("XTRIM", settled, "MINID", args.before) end
    if redis.call("XLEN", settled) == 0 and (get("finished") or "") == args.described then
        redis.call("SREM", UNWRITTEN, chosen)
        drop("unwritten")
    end
    return 1
end

-- Count what waits and runs anew: what a server lost of its last writes can leave these counters wrong. Returns the state.
function operations.recount()
    if not get("state") then return "gone" end
    local waiting, running = 0, 0
    for _, parcel_number in ipairs(redis.call("ZRANGE", pending, 0, -1)) do
        local text = redis.call("HGET", work, parcel_number)
        if text then waiting = waiting + #cjson.decode(text).items else redis.call("ZREM", pending, parcel_number) end
    end
    for _, parcel_number in ipairs(redis.call("HKEYS", holders)) do
        local text = redis.call("HGET", work, parcel_number)
        if text then
            local _, position = held(parcel_number)
            running = running + #cjson.decode(text).items - (position or 0)
        else
            forget(parcel_number)
        end
    end
    set("pending", waiting)
    set("running", running)
    close_when_complete()
    return get("state")
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

-- How many parcels may start now, counted up to `most`, and which claims have run out. Of a job with a rate, one starts
-- at a time.
function operations.look()
    local time = now()
    local count = redis.call("ZCOUNT", LATER, "-inf", time)
    for _, priority in ipairs(args.priorities) do
        for _, id in ipairs(redis.call("ZRANGE", READY .. priority, 0, args.most)) do
            if count >= args.most then break end
            choose(id)
            local waiting = redis.call("ZCOUNT", pending, "-inf", time)
            count = count + (waiting > 1 and number("rate") > 0 and 1 or waiting)
        end
    end
    return {math.min(count, args.most), redis.call("ZRANGEBYSCORE", CLAIMED, "-inf", time, "LIMIT", 0, DUE_AT_ONCE)}
end

-- The number of the ledger's layout, noted if none is. A caller that raises it does so if no jobs stand in the way.
function operations.layout()
    local jobs = redis.call("ZCARD", JOBS)
    local found = tonumber(redis.call("GET", LAYOUT) or "") or (jobs > 0 and UNNUMBERED or nil)
    if found and not (args.raises and jobs == 0 and found < args.layout) then return found end
    redis.call("SET", LAYOUT, string.format("%.0f", args.layout))
    return args.layout
end

-- Forget a job that is over; what it counted stays in the totals. Returns 1, 0 when it is not over, or -1 when records
-- of it are not written yet, which only `force` gives up.
function operations.delete()
    if redis.call("SISMEMBER", ACTIVE, args.id) == 1 then return 0 end
    if not args.force and redis.call("XLEN", settled) > 0 then return -1 end
    for _, field in ipairs(COUNTERS) do increase(TOTALS, field, number(field)) end
    redis.call("UNLINK", job, work, pending, holders, settled, failures)
    redis.call("SREM", UNWRITTEN, args.id)
    redis.call("ZREM", JOBS, args.id)
    return 1
end

local wrong = refusal()
if wrong then return redis.error_reply("ERR the ledger can't do " .. tostring(operation) .. ": impossible " .. wrong) end
if args.layout and BEGINNING[operation] then
    local found = redis.call("GET", LAYOUT)
    if found and tonumber(found) ~= args.layout then return redis.error_reply("LAYOUT " .. found) end
end
if args.leader and MOVING[operation] and redis.call("GET", LEADER) ~= args.leader then
    return redis.error_reply("DEPOSED another one leads")
end
if args.worker then redis.call("ZADD", WORKERS, now() / 1000, args.worker) end
if args.id then choose(args.id) end
local result = operations[operation]()
if chosen and MOVING[operation] and (operation ~= "finish" or args.state == "retry" or args.release) then place() end
if chosen and TELLING[operation] and get("state") then tell() end
write()
return result

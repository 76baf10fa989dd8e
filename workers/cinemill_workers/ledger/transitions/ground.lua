-- What the ledger's atomic transitions have in common: the keys, and a job's fields and parcels.
--
-- A transition is this file, the file of its operation, and apply.lua, one after the other. The operation's file declares
-- `shape`, the arguments that it needs; `traits`: `begins`, if only callers of this layout may do it, `moves`, if only who
-- leads may, or nobody does, and if it can change when the job's next parcel may start (but for `stays`), `tells`, if the
-- leader has to look at the job, `records`, if it takes a record; and `operate`.
--
-- ARGV[1]  arguments, a JSON object; `id` names the job
-- ARGV[2]  the record of what became of an item, a JSON object
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

local args = cjson.decode(ARGV[1])
local ACTIVE, JOBS, WORKERS, TOTALS = "cinemill:active", "cinemill:jobs", "cinemill:workers", "cinemill:totals"
local UNWRITTEN = "cinemill:unwritten"
local CLAIM, CLAIMED = "cinemill:claim:", "cinemill:claimed"
local READY, LATER, SERVED = "cinemill:ready:", "cinemill:later", "cinemill:served"
local DUE, LAYOUT, LEADER = "cinemill:due", "cinemill:layout", "cinemill:leader"
local DUE_AT_ONCE = 100
local INTEGER, TEXT, LIST, FLAG = "number", "string", "table", "boolean"
local NEVER = 1e15 -- jobs never served come first, in the order in which they could have been
local COUNTERS = {"bytes_in", "bytes_out", "pixel_bytes", "retries"}
local FIELDS = {
    "state", "pending", "running", "exhausted", "priority", "next_start", "served", "note", "storage_errors", "rests",
    "unwritten", "rate", "at_once", "started", "retries", "bytes_in", "bytes_out", "pixel_bytes",
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

-- Let items wait as a parcel; `alone` has them worked on one by one.
local function put(items, bytes, attempt, ready, alone)
    add("parcels", 1)
    local parcel = string.format("%09d", number("parcels"))
    redis.call("HSET", work, parcel, cjson.encode({items = items, bytes = bytes, attempt = attempt, alone = alone or nil}))
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

-- How many parcels of the chosen job may be claimed besides those that are.
local function room()
    local most = number("at_once")
    return most > 0 and most - redis.call("HLEN", holders) or math.huge
end

-- Delay the chosen job's next start by what its rate (bytes a second) asks for these bytes; so many milliseconds ago it
-- might have begun with them.
local function throttle(bytes, ago)
    local rate = number("rate")
    if rate > 0 and bytes > 0 then set("next_start", math.max(now() - ago, number("next_start")) + math.ceil(bytes * 1000 / rate)) end
end

-- Put the chosen job where claims look for it: `READY` by whose turn it is, `LATER` by when it may start.
local function place()
    local ready = READY .. (get("priority") or "")
    local first = get("state") == "running" and room() > 0 and redis.call("ZRANGE", pending, 0, 0, "WITHSCORES") or {}
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
local function give_back(parcel, first, alone)
    local count = #parcel.items - first
    if count <= 0 then return end
    add("running", -count)
    if get("state") == "cancelled" then
        add("cancelled", count)
        return
    end
    add("pending", count)
    put({unpack(parcel.items, first + 1)}, {unpack(parcel.bytes, first + 1)}, parcel.attempt, 0, alone or parcel.alone)
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

local function rest(delay, note)
    set("next_start", math.max(now() + delay, number("next_start")))
    set("note", note)
end

-- Check the arguments of an operation, do it to the chosen job, and write what it changed.

local OPTIONAL = {
    id = TEXT, state = TEXT, status = TEXT, note = TEXT, worker = TEXT, awaits = TEXT, roots = TEXT, segment = TEXT,
    did = TEXT, before = TEXT, layout = INTEGER, leader = TEXT,
}
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

-- The name of an argument that can't be; nil if there is none.
local function refusal()
    for name, kind in pairs(shape) do
        local value = args[name]
        if type(kind) == LIST then
            if not kind[value] then return name end
        elseif type(value) ~= kind or (kind == INTEGER and not is_count(value)) then
            return name
        end
    end
    for name, kind in pairs(OPTIONAL) do
        if args[name] ~= nil and type(args[name]) ~= kind then return name end
    end
    if shape.parcels and not each_is(args.parcels, is_parcel) then return "parcels" end
    if shape.origins and not each_is(args.origins, is_text) then return "origins" end
    if shape.priorities and not each_is(args.priorities, is_text) then return "priorities" end
    if args.before and not string.match(args.before, "^%d+%-%d+$") then return "before" end
    if traits.records and (ARGV[2] or "") == "" then return "record" end
end

local wrong = refusal()
if wrong then return redis.error_reply("ERR the ledger can't do that: impossible " .. wrong) end
if args.layout and traits.begins then
    local found = redis.call("GET", LAYOUT)
    if found and tonumber(found) ~= args.layout then return redis.error_reply("LAYOUT " .. found) end
end
if args.leader and traits.moves and redis.call("GET", LEADER) ~= args.leader then
    return redis.error_reply("DEPOSED another one leads")
end
if args.worker then redis.call("ZADD", WORKERS, now() / 1000, args.worker) end
if args.id then choose(args.id) end
local result = operate()
if chosen and traits.moves and not traits.stays then place() end
if chosen and traits.tells and get("state") then tell() end
write()
return result

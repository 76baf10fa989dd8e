-- Add freshly listed parcels, if nobody else listed them meanwhile. Returns the number of waiting parcels, or -1.

local shape = {id = TEXT, listed = INTEGER, parcels = LIST, exhausted = FLAG, cursor = TEXT}
local traits = {begins = true, moves = true}

local function operate()
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

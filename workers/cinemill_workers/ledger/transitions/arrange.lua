-- Put what is left of a claimed parcel into the order of the only one of `parcels`. Returns 1, or 0 when the claim was
-- taken away.

local shape = {id = TEXT, parcel = TEXT, holder = TEXT, position = INTEGER, parcels = LIST}
local traits = {}

local function operate()
    local position, arranged = position_of(args.parcel), args.parcels[1]
    if position ~= args.position or not arranged then return 0 end
    local parcel = parcel_of(args.parcel)
    if position + #arranged.items ~= #parcel.items then return 0 end
    for i, item in ipairs(arranged.items) do
        parcel.items[position + i], parcel.bytes[position + i] = item, arranged.bytes[i]
    end
    redis.call("HSET", work, args.parcel, cjson.encode(parcel))
    return 1
end

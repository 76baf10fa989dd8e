-- Count an error of the storage on an item that had none before. Once there were `most` without an item done between
-- them, whatever is claimed goes back and the job rests, but no more than `rests` times. Returns whether the job rests.

local shape = {
    id = TEXT, parcel = TEXT, holder = TEXT, position = INTEGER, most = INTEGER, rests = INTEGER, delay = INTEGER,
    note = TEXT,
}
local traits = {moves = true}

local function operate()
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

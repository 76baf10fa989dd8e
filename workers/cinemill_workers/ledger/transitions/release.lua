-- Hand back what is left of a claimed parcel, uncounted; with a note and a delay, the whole job rests as well.

local shape = {id = TEXT, parcel = TEXT, holder = TEXT, position = INTEGER, delay = INTEGER, note = TEXT}
local traits = {moves = true}

local function operate()
    if position_of(args.parcel) ~= args.position then return "lost" end
    give_back(parcel_of(args.parcel), args.position)
    forget(args.parcel)
    if args.delay > 0 then rest(args.delay, args.note) end
    close_when_complete()
    return get("state")
end

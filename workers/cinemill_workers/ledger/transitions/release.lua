-- Hand back what is left of a claimed parcel, uncounted, from now on to be worked on one by one if it is to be `alone`;
-- with a note and a delay, the whole job rests as well.

local shape = {
    id = TEXT, parcel = TEXT, holder = TEXT, position = INTEGER, delay = INTEGER, note = TEXT, alone = FLAG, expired = FLAG,
}
local traits = {moves = true}

local function operate()
    if position_of(args.parcel) ~= args.position then return "lost" end
    if args.expired and ending(args.parcel) > now() then return "lost" end
    give_back(parcel_of(args.parcel), args.position, args.alone)
    forget(args.parcel)
    if args.delay > 0 then rest(args.delay, args.note) end
    close_when_complete()
    return get("state")
end

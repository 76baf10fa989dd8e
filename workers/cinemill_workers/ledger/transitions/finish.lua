-- Record what became of one item, in order. Returns the job's state, or "lost" when the claim was taken away.

local STATES = {
    done = true, copied = true, skipped = true, failed = true,
    quarantined = true, cancelled = true, retry = true,
}
local shape = {
    id = TEXT, parcel = TEXT, holder = TEXT, position = INTEGER, item = INTEGER, state = STATES, delay = INTEGER,
    count = INTEGER, expired = FLAG, release = FLAG, bytes_in = INTEGER, bytes_out = INTEGER, pixel_bytes = INTEGER,
    unlisted = INTEGER, took = INTEGER,
}
local traits = {moves = true, records = true, stays = args.state ~= "retry" and not args.release}

local function operate()
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
        redis.call("XADD", settled, "*", "state", args.state, "record", ARGV[2])
        owe()
        if args.status and args.state ~= "cancelled" then add("status:" .. args.status, 1) end
        if args.did then
            for name, amount in pairs({instances = 1, before = args.bytes_in, after = args.bytes_out}) do
                add("did:" .. name .. ":" .. args.did, amount)
            end
        end
        throttle(args.unlisted, args.took)
        add("bytes_in", args.bytes_in)
        add("bytes_out", args.bytes_out)
        add("pixel_bytes", args.pixel_bytes)
    end
    if args.release then give_back(parcel, args.position + 1) end
    if args.release or args.position + 1 == args.count then
        forget(args.parcel)
        traits.stays = traits.stays and number("at_once") == 0
    else
        hold(args.parcel, args.holder, string.format("%.0f", args.position + 1))
    end
    close_when_complete()
    return get("state")
end

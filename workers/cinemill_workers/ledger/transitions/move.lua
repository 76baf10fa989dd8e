-- Move the job from one of the states `origins` to another; cancelling drops whatever waits. Returns the state it has.
-- A pause may await something; a job that goes on without it takes the roots of its trees as they are from then on.

local STATES = {running = true, waiting = true, paused = true, cancelled = true, done = true}
local shape = {id = TEXT, origins = LIST, state = STATES}
local traits = {begins = true, moves = true, tells = true}

local function operate()
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

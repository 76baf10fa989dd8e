-- The number of the ledger's layout, noted if none is, or an older one, and no jobs stand in the way.

local UNNUMBERED = 1 -- the layout of ledgers in which none is noted
local shape = {layout = INTEGER}
local traits = {}

local function operate()
    local jobs = redis.call("ZCARD", JOBS)
    local found = tonumber(redis.call("GET", LAYOUT) or "") or (jobs > 0 and UNNUMBERED or nil)
    if found and not (jobs == 0 and found < args.layout) then return found end
    redis.call("SET", LAYOUT, string.format("%.0f", args.layout))
    return args.layout
end

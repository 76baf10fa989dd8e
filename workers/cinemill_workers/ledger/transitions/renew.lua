-- Prolong a claim. Returns the job's state, or "lost".

local shape = {id = TEXT, parcel = TEXT, holder = TEXT, worker = TEXT, lease = INTEGER}
local traits = {}

local function operate()
    if held(args.parcel) ~= args.holder then return "lost" end
    lease(args.parcel)
    return get("state")
end

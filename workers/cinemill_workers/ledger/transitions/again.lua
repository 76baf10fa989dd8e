-- Let one failed or quarantined item wait again. Returns 1, or 0 when somebody else did it before.

local shape = {id = TEXT, item = INTEGER, text = TEXT, bytes = INTEGER}
local traits = {begins = true, moves = true, tells = true}

local function operate()
    local counted = get("state") and redis.call("HGET", failures, args.item) or ""
    local state, bytes, status = string.match(counted, "^(%l+) (%d+) (.*)$")
    if not state then return 0 end
    redis.call("HDEL", failures, args.item)
    add(state, -1)
    if status ~= "" then add("status:" .. status, -1) end
    add("bytes_in", -tonumber(bytes))
    increase(TOTALS, "bytes_in", tonumber(bytes))
    add("pending", 1)
    put({args.text}, {args.bytes}, 0, 0)
    if get("state") == "done" then
        set("state", "running")
        drop("finished")
    end
    redis.call("SADD", ACTIVE, args.id)
    owe()
    return 1
end

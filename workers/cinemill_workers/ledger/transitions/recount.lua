-- Count what waits and runs anew: what a server lost of its last writes can leave these counters wrong. Returns the state.

local shape = {id = TEXT}
local traits = {moves = true}

local function operate()
    if not get("state") then return "gone" end
    local waiting, running = 0, 0
    for _, parcel_number in ipairs(redis.call("ZRANGE", pending, 0, -1)) do
        local text = redis.call("HGET", work, parcel_number)
        if text then waiting = waiting + #cjson.decode(text).items else redis.call("ZREM", pending, parcel_number) end
    end
    for _, parcel_number in ipairs(redis.call("HKEYS", holders)) do
        local text = redis.call("HGET", work, parcel_number)
        if text then
            local _, position = held(parcel_number)
            running = running + #cjson.decode(text).items - (position or 0)
        else
            forget(parcel_number)
        end
    end
    set("pending", waiting)
    set("running", running)
    close_when_complete()
    return get("state")
end

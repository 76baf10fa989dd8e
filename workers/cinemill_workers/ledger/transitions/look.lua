-- How many parcels may start now, counted up to `most`, and which claims have run out. Of a job with a rate, one starts
-- at a time.

local shape = {priorities = LIST, most = INTEGER}
local traits = {}

local function operate()
    local time = now()
    local count = redis.call("ZCOUNT", LATER, "-inf", time)
    for _, priority in ipairs(args.priorities) do
        for _, id in ipairs(redis.call("ZRANGE", READY .. priority, 0, args.most)) do
            if count >= args.most then break end
            choose(id)
            local waiting = redis.call("ZCOUNT", pending, "-inf", time)
            count = count + math.min(room(), waiting > 1 and number("rate") > 0 and 1 or waiting)
        end
    end
    return {math.min(count, args.most), redis.call("ZRANGEBYSCORE", CLAIMED, "-inf", time, "LIMIT", 0, DUE_AT_ONCE)}
end

-- What all jobs ever counted, whether or not they are forgotten: never less than before.

local shape = {}
local traits = {}

local function operate()
    local sums = {}
    for i, field in ipairs(COUNTERS) do sums[i] = tonumber(redis.call("HGET", TOTALS, field) or "0") end
    for _, id in ipairs(redis.call("ZRANGE", JOBS, 0, -1)) do
        choose(id)
        for i, field in ipairs(COUNTERS) do sums[i] = sums[i] + number(field) end
    end
    return sums
end

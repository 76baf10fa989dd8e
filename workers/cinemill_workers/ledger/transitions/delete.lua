-- Forget a job that is over; what it counted stays in the totals. Returns 1, 0 when it is not over, or -1 when records
-- of it are not written yet, which only `force` gives up.

local shape = {id = TEXT, force = FLAG}
local traits = {}

local function operate()
    if redis.call("SISMEMBER", ACTIVE, args.id) == 1 then return 0 end
    if not args.force and redis.call("XLEN", settled) > 0 then return -1 end
    for _, field in ipairs(COUNTERS) do increase(TOTALS, field, number(field)) end
    redis.call("UNLINK", job, work, pending, holders, settled, failures)
    redis.call("SREM", UNWRITTEN, args.id)
    redis.call("ZREM", JOBS, args.id)
    return 1
end

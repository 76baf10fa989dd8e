-- Note that the records before one stand in a segment, and drop them; or, with none, that a segment is begun. Only the
-- segment begun last counts: what another one has got besides is written again. A job whose records are all written, and
-- whose end is described, is let go. Returns 1, or 0 when there is a later segment, or no job.

local shape = {id = TEXT, described = TEXT}
local traits = {}

local function operate()
    if not get("state") then return 0 end
    if args.segment then
        if (get("segment") or "") > args.segment then return 0 end
        set("segment", args.segment)
    end
    if args.before then redis.call("XTRIM", settled, "MINID", args.before) end
    if redis.call("XLEN", settled) == 0 and (get("finished") or "") == args.described then
        redis.call("SREM", UNWRITTEN, chosen)
        drop("unwritten")
    end
    return 1
end

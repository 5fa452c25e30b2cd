-- Several requests in one write: `wrk -s pipeline.lua URL -- PATH DEPTH`. The bytes are made once, at start.
local batch

function init(args)
  local requests = {}
  for at = 1, tonumber(args[2]) do
    requests[at] = wrk.format("GET", args[1])
  end
  batch = table.concat(requests)
end

function request()
  return batch
end

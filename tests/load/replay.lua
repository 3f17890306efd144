-- Sends requests that were signed beforehand (cargo load -- --prepare N --out FILE) with wrk, each once.
--
--   wrk -t2 -c256 -d10 -s tests/load/replay.lua http://127.0.0.1:5001 -- FILE 2
--
-- FILE and the number of threads (-t) stand behind --; a third word is another path. A line of the file is a request:
-- id, Unix seconds, signature and body, separated by tabs. Each thread takes its own lines. When it has sent all of
-- them it begins again, and the end says how often: those are repeats, which a receiver answers with 200 and without a
-- commit, so a run with any of them is no measure of accepts. Prepare more than the time can take.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  local file = args[1] or error("name the file of requests after --")
  local threads_in_all = tonumber(args[2]) or error("say the number of threads after the file")
  local path = args[3] or "/api/v1/webhooks/pms"
  requests, sent = {}, 0
  local at = 0
  for line in io.lines(file) do
    if at % threads_in_all == number then
      local id, seconds, signature, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
      requests[#requests + 1] = wrk.format("POST", path, {
        ["host"] = "localhost",
        ["content-type"] = "application/json",
        ["webhook-id"] = id,
        ["webhook-timestamp"] = seconds,
        ["webhook-signature"] = signature,
      }, body)
    end
    at = at + 1
  end
  prepared = #requests
end

function request()
  sent = sent + 1
  return requests[(sent - 1) % prepared + 1]
end

-- There is no response(): wrk would parse every header for it, and be half as fast.
function done(summary, latency, _)
  local again = 0
  for _, thread in ipairs(threads) do
    again = again + math.max(0, thread:get("sent") - thread:get("prepared"))
  end
  local good = summary.requests - summary.errors.status
  print(string.format("2xx: %d, %.0f a second; others: %d; sent again: %d; p50 %.2f ms, p99 %.2f ms", good,
    good / (summary.duration / 1e6), summary.errors.status, again, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000))
end

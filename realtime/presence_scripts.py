"""What Redis does for presence in one step each. They hold to one key, as a Cluster demands.

Their text is their contract with other versions: all nodes of a rolling deploy run them on the
same keys.
"""

import hashlib
from typing import Any


class Script:
    """A script, and its name as Redis knows it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def call(self, key: str, *args: Any) -> tuple[Any, ...]:
        """Give the command that runs it on a key."""
        return ("EVALSHA", self.sha, 1, key, *args)


# Puts, drops or sweeps connections of one user in one stream; gives the status that showed
# before and after, since when, how many people are there now, and the time. The same rules as
# in `Record`: the connection whose status was set last shows; `since` is that of the first.
CHANGE = Script("""
local what, user, conn, node = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local function shown(seats)
  local best, name
  for id, seat in pairs(seats) do
    if not best or seat[4] > best[4] or (seat[4] == best[4] and id > name) then
      best, name = seat, id
    end
  end
  return best and best[3] or false
end
local raw = redis.call('HGET', KEYS[1], user)
local record = raw and cjson.decode(raw) or {since = tonumber(ARGV[7]) or 0, seats = {}}
local before = shown(record.seats)
if what == 'put' then
  record.seats[conn] = {node, ARGV[5], ARGV[6], tonumber(ARGV[8])}
  record.since = math.min(record.since, tonumber(ARGV[7]))
elseif what == 'drop' then
  record.seats[conn] = nil
else
  for id, seat in pairs(record.seats) do
    if seat[1] == node then record.seats[id] = nil end
  end
end
local after = shown(record.seats)
if after then
  redis.call('HSET', KEYS[1], user, cjson.encode(record))
elseif raw then
  redis.call('HDEL', KEYS[1], user)
end
local now = redis.call('TIME')
return {before, after, record.since, redis.call('HLEN', KEYS[1]),
        now[1] * 1000 + math.floor(now[2] / 1000)}
""")

ROSTER = Script("""
local count = redis.call('HLEN', KEYS[1])
if count > tonumber(ARGV[1]) then return {count, false} end
return {count, redis.call('HGETALL', KEYS[1])}
""")

# Prolongs a lease that has not ended, or else ends it for good and begins a new one; gives its
# name, the leases that have ended, and the others.
RENEW = Script("""
local afresh, name, new = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = name ~= '' and redis.call('ZSCORE', KEYS[1], name)
if afresh ~= '' or not ends or tonumber(ends) <= now then
  if name ~= '' then redis.call('ZADD', KEYS[1], 0, name) end
  name = new
end
if name ~= '' then redis.call('ZADD', KEYS[1], now + tonumber(ARGV[4]), name) end
return {name, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now),
        redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')}
""")

# Forgets a lease, if it has ended.
END = Script("""
local time = redis.call('TIME')
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ends and tonumber(ends) <= time[1] * 1000 + math.floor(time[2] / 1000) then
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
""")

"""What Redis does for presence in one step each. They hold to one key, as a Cluster demands.

Their text is their contract with other versions: all nodes of a rolling deploy run them on the
same keys. A record that is none of ours, whoever wrote it, counts as nobody and is written over:
it must not end the batch that meets it. Python judges records as the scripts do.
"""

import hashlib
from typing import Any

from core import json
from realtime.presence_store import Record, Seat

# The year 10000: what is no time can't be shown.
_TIMES_END_MS = 253_402_300_800_000


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
local function is_time(ms)
  return type(ms) == 'number' and ms >= 0 and ms < 253402300800000
end
local function is_text(text)
  return type(text) == 'string' and not string.find(text, '[^ -~]')
end
local function is_seat(id, seat)
  return is_text(id) and type(seat) == 'table' and is_text(seat[1]) and seat[1] ~= ''
    and is_text(seat[2]) and is_text(seat[3]) and is_time(seat[4])
end
local function read(raw)
  local is_json, record = pcall(cjson.decode, raw)
  if not is_json or type(record) ~= 'table' or not is_time(record.since)
    or type(record.seats) ~= 'table' then return nil end
  for id, seat in pairs(record.seats) do
    if not is_seat(id, seat) then record.seats[id] = nil end
  end
  return record
end
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
local record = raw and read(raw) or {since = tonumber(ARGV[7]) or 0, seats = {}}
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

# Forgets what is kept of somebody, if it is still that.
FORGET = Script("""
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  return redis.call('HDEL', KEYS[1], ARGV[1])
end
return 0
""")

# Removes a key that is of another type than ours.
MAKE_ROOM = Script("""
if redis.call('TYPE', KEYS[1]).ok == ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")

ALL = (CHANGE, END, FORGET, MAKE_ROOM, RENEW, ROSTER)


def read_record(raw: bytes) -> Record | None:
    """Read what CHANGE wrote; None where it is none of ours, or nobody is in it."""
    try:
        kept = json.loads(raw)
    except json.JsonError:
        return None
    if not isinstance(kept, dict) or not _is_time(kept.get("since")):
        return None
    seats = kept.get("seats")
    found = {name: Seat(*seat[:4]) for name, seat in _items(seats) if _is_seat(name, seat)}
    return Record(int(kept["since"]), found) if found else None


def _items(seats: Any) -> list[tuple[str, Any]]:
    return list(seats.items()) if isinstance(seats, dict) else []


def _is_seat(name: str, seat: Any) -> bool:
    if not isinstance(seat, list) or len(seat) < 4:
        return False
    return bool(seat[0]) and all(map(_is_text, [name, *seat[:3]])) and _is_time(seat[3])


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and (value.isprintable() or not value)


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < _TIMES_END_MS

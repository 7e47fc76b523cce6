"""Every Redis key of the service, and what arq's own are called.

=============================== ======= ============================================================
ems:email:<id>                  hash    the record (see ``record``)
ems:content:<id>                string  the message's bytes
ems:events:<id>                 list    the email's history, JSON, oldest first
ems:lease:<id>                  string  token of the claim that works on it; expires by itself
arq:job:<id>                    string  the trigger: msgpack, ``send(id)``, no TTL
arq:in-progress:<id>            string  arq's claim
arq:retry:<id>                  string  how often arq's own worker has begun it
arq:queue[:high|:low]           zset    the lanes: id → when due, milliseconds with µs
ems:held:<reason>[:<route>]     zset    waiting mail outside its lane: id → its old place
ems:claimed                     zset    id → when its lease ends, for the reaper
ems:asked:<token>               string  a claim by this token gave mail out; expires as its leases do
ems:open                        zset    every email without a final state: id → accepted, µs
ems:emails                      zset    every email: id → accepted, µs
ems:state:<state>               zset    the same, by state
ems:last                        string  the last score given, µs: scores only grow
ems:wake                        list    a token for each thing to look at; capped
ems:idem:<client>:<key>         string  ``<id> <hash of the body>``
ems:rate:<client>               string  when the client's bucket is full again, µs; expires then
ems:recipient:<client>:<addr>   string  the same for what one recipient may get from it
ems:relay:<name>                hash    a relay's state, shared by all workers
ems:worker:<name>               string  a worker's last beat, JSON; expires
ems:workers                     zset    worker names → last beat, milliseconds
ems:arq-health:<name>           string  what arq's own worker says of itself; expires
ems:minute:<n>                  hash    counters of minute n since 1970, times to the relay; expires after 2 h
ems:quarter:<n>                 hash    counters of quarter hour n since 1970; expires after 25 h
ems:totals                      hash    the same counters since the first email; they only grow
ems:sweeper                     string  the worker that sweeps at present; expires
ems:routes                      string  senders → route, JSON, as the workers' settings say
ems:paused                      string  there while the operator has paused the queue
ems:keys                        hash    client keys: key id → JSON with the SHA-256
ems:session-secret              string  signs the operator's session
ems:sign-in:<sha256>            string  a one-time sign-in link; expires
ems:signed-out:<sha256>         string  a session that was ended before its time; expires
ems:mailbox                     zset    captured mail: id → when, milliseconds
ems:mailbox:<client>            zset    the same of one client: id → arrival in the mailbox, µs
ems:mailbox-clients             set     the clients of which there is captured mail
ems:mail:<id>                   hash    one captured email
=============================== ======= ============================================================

Nothing that belongs to a waiting email has a TTL. This module is the map of Redis.
"""

from typing import Final

EMAIL: Final = "ems:email:"
CONTENT: Final = "ems:content:"
EVENTS: Final = "ems:events:"
LEASE: Final = "ems:lease:"
HELD: Final = "ems:held:"
CLAIMED: Final = "ems:claimed"
ASKED: Final = "ems:asked:"
OPEN: Final = "ems:open"
EMAILS: Final = "ems:emails"
STATE: Final = "ems:state:"
LAST: Final = "ems:last"
WAKE: Final = "ems:wake"
IDEM: Final = "ems:idem:"
RATE: Final = "ems:rate:"
RECIPIENT: Final = "ems:recipient:"
RELAY: Final = "ems:relay:"
WORKER: Final = "ems:worker:"
WORKERS: Final = "ems:workers"
MINUTE: Final = "ems:minute:"
QUARTER: Final = "ems:quarter:"
TOTALS: Final = "ems:totals"
PAUSED: Final = "ems:paused"
SWEEPER: Final = "ems:sweeper"
ROUTES: Final = "ems:routes"
KEYS: Final = "ems:keys"
SESSION_SECRET: Final = "ems:session-secret"  # noqa: S105 (a key's name)
SIGN_IN: Final = "ems:sign-in:"
SIGNED_OUT: Final = "ems:signed-out:"
MAILBOX: Final = "ems:mailbox"
MAILBOX_CLIENTS: Final = "ems:mailbox-clients"
MAIL: Final = "ems:mail:"

JOB: Final = "arq:job:"
RUNNING: Final = "arq:in-progress:"
RETRIED: Final = "arq:retry:"
ARQ_HEALTH: Final = "ems:arq-health:"
LANES: Final = {"high": "arq:queue:high", "normal": "arq:queue", "low": "arq:queue:low"}
"""Best first. The normal lane is arq's default queue, so that arq's stock command serves it."""

FOR_SCRIPTS: Final = (
    "EMAIL", "CONTENT", "EVENTS", "LEASE", "HELD", "CLAIMED", "ASKED", "OPEN", "EMAILS", "STATE", "LAST", "WAKE", "IDEM",
    "RATE", "RECIPIENT", "RELAY", "WORKER", "WORKERS", "MINUTE", "QUARTER", "TOTALS", "PAUSED", "MAILBOX", "MAILBOX_CLIENTS",
    "MAIL", "JOB", "RUNNING", "RETRIED",
)  # fmt: skip
"""The names that the Lua scripts know, with these values."""

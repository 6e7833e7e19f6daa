-- Schema 1. A file in this folder is never edited once released: changes are a new file with the next number.

-- One row an instance. Columns up to `ended_at` are InstanceRow's; the others are written once, at its start.
CREATE TABLE instance (
    instance        TEXT NOT NULL PRIMARY KEY,
    execution       INTEGER NOT NULL,
    first_execution INTEGER NOT NULL,
    name            TEXT NOT NULL,
    version         TEXT,
    semantics       INTEGER NOT NULL,
    state           TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    last_commit     TEXT,
    unread          INTEGER NOT NULL,
    unread_bytes    INTEGER NOT NULL,
    history_length  INTEGER NOT NULL,
    history_bytes   INTEGER NOT NULL,
    wake_at         REAL,
    not_before      REAL NOT NULL,
    due_at          REAL,
    next_seq        INTEGER NOT NULL,
    queued          INTEGER NOT NULL,
    mail            INTEGER NOT NULL,
    mail_bytes      INTEGER NOT NULL,
    first_at        REAL,
    control_at      REAL,
    lock_token      TEXT,
    lock_worker     TEXT,
    lock_until      REAL NOT NULL,
    attempts        INTEGER NOT NULL,
    created_at      REAL NOT NULL,
    updated_at      REAL NOT NULL,
    ended_at        REAL,
    parent          TEXT,  -- who waits for it, and for which of its operations
    parent_execution INTEGER,
    parent_event_id INTEGER,
    attributes      TEXT NOT NULL  -- JSON object
) STRICT, WITHOUT ROWID;

-- In the order in which they are handed out, with what decides who may take them.
CREATE INDEX instance_due ON instance (due_at, revision, instance, name, version, semantics, control_at)
    WHERE due_at IS NOT NULL;
CREATE INDEX instance_held ON instance (lock_worker) WHERE lock_worker IS NOT NULL;
CREATE INDEX instance_created ON instance (created_at, instance);
CREATE INDEX instance_parent ON instance (parent, created_at, instance) WHERE parent IS NOT NULL;

-- Execution numbers that were used by instances which are deleted: they never start again.
CREATE TABLE tombstone (
    instance        TEXT NOT NULL PRIMARY KEY,
    execution       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    instance        TEXT NOT NULL,
    execution       INTEGER NOT NULL,
    id              INTEGER NOT NULL,
    at              REAL NOT NULL,
    kind            TEXT NOT NULL,
    data            BLOB NOT NULL,
    payload         BLOB,
    PRIMARY KEY (instance, execution, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE message (
    instance        TEXT NOT NULL,
    seq             INTEGER NOT NULL,
    at              REAL NOT NULL,
    execution       INTEGER,
    control         INTEGER NOT NULL,
    mailbox         INTEGER NOT NULL,
    kind            TEXT NOT NULL,
    data            BLOB NOT NULL,
    payload         BLOB,
    PRIMARY KEY (instance, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE status (
    instance        TEXT NOT NULL PRIMARY KEY,
    value           BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE kv (
    instance        TEXT NOT NULL,
    key             TEXT NOT NULL,
    value           BLOB NOT NULL,
    PRIMARY KEY (instance, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE activity (
    instance        TEXT NOT NULL,
    execution       INTEGER NOT NULL,
    event_id        INTEGER NOT NULL,
    name            TEXT NOT NULL,
    tag             TEXT,
    session         TEXT,
    scheduled_at    REAL NOT NULL,
    start_by        REAL,
    late_kind       TEXT,
    late_data       BLOB,
    due_at          REAL NOT NULL,
    lock_token      TEXT,
    lock_worker     TEXT,
    attempt         INTEGER NOT NULL,
    failures        INTEGER NOT NULL,
    fetches         INTEGER NOT NULL,
    cancelled       INTEGER NOT NULL,
    heartbeat       BLOB,
    data            BLOB NOT NULL,
    payload         BLOB NOT NULL,
    PRIMARY KEY (instance, execution, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX activity_due ON activity (due_at, event_id, instance, execution, tag, session) WHERE cancelled = 0;
CREATE INDEX activity_cancelled ON activity (due_at, event_id, instance, execution) WHERE cancelled = 1;
CREATE INDEX activity_late ON activity (start_by, event_id, instance, execution)
    WHERE start_by IS NOT NULL AND lock_token IS NULL AND cancelled = 0;

-- Which worker has which session, or had it last.
CREATE TABLE session (
    session         TEXT NOT NULL PRIMARY KEY,
    worker          TEXT NOT NULL,
    until           REAL NOT NULL,
    used_at         REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX session_worker ON session (worker);
CREATE INDEX session_until ON session (until);

-- Client requests that were carried out, and tokens that settled their items: kept for an hour.
CREATE TABLE request (
    request_id      TEXT NOT NULL PRIMARY KEY,
    at              REAL NOT NULL,
    verb            TEXT NOT NULL,
    instance        TEXT NOT NULL,
    execution       INTEGER NOT NULL,
    created         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX request_at ON request (at);

CREATE TABLE settled (
    token           TEXT NOT NULL PRIMARY KEY,
    at              REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX settled_at ON settled (at);

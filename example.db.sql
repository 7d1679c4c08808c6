-- A complete example of a runner database, to read and to try.
--
--     runner --db example.db init --example             creates it, and so does
--     (umask 077; sqlite3 example.db < example.db.sql)
--     runner --db example.db task run 18 1              runs task 18 and shows it live
--     runner --db example.db tick                       runs all pending tasks
--     runner --db example.db timer next                 shows what its timers will do
--
-- It is plain SQL that any program could write. Its dates are relative to the day on which it is made.

PRAGMA journal_mode = WAL;
PRAGMA application_id = 1380863570;
PRAGMA user_version = 1;
BEGIN;
-- The tables of a runner database. They are a public interface: `docs/sql.md`, "What any program may write".
--
-- Times are UTC in SQLite's own form, YYYY-MM-DD HH:MM:SS: datetime('now', '+5 minutes') is right, and they sort right.
-- Other programs bring their own SQLite, so nothing here is newer than SQLite 3.37:
--   * Times that other programs may write are compared with datetime(…, '+0 days'). Without '+0 days', older SQLite (3.40,
--     for example) accepts 30 February. What sorts before '0' is a year before Christ, which the runner does not support.
--   * A choice of three words or more is written with OR. For IN, SQLite builds a table whenever the statement runs.

-- With a row 'paused', nothing is started (`docs/administration.md`, "Pausing"); its value says since when.
CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A row for each tick or 'task run' that has claimed work and is alive, or has died since. Whether it is alive is decided
-- by a lock on a file of its own beside the database, never by this row.
CREATE TABLE worker (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    pid        INTEGER NOT NULL,
    slots      INTEGER NOT NULL DEFAULT 0,          -- its share of task.max_running
    started_at TEXT    NOT NULL
) STRICT;

CREATE TABLE method (
    name     TEXT    PRIMARY KEY CHECK (name <> ''),  -- 'Service:*' stands for all methods of a service
    command  TEXT    NOT NULL CHECK (json_valid(command) AND json_type(command, '$[0]') IS 'text'),  -- argv
    timeout  TEXT    CHECK (  -- a duration above zero: each number with its unit right after it
                    timeout GLOB '[0-9]*[a-z]' AND timeout GLOB '*[1-9]*' AND NOT timeout GLOB '*[^0-9 ywdhmso]*' AND
                    NOT timeout GLOB '*[^0-9][ywdhms]*' AND NOT timeout GLOB '*[^m]o*' AND NOT timeout GLOB '*[0-9] *'),
    retries  INTEGER NOT NULL DEFAULT 0 CHECK (retries BETWEEN 0 AND 4294967295),
    resident INTEGER NOT NULL DEFAULT 0 CHECK (resident IN (0, 1)),
    pipeline INTEGER NOT NULL DEFAULT 1 CHECK (pipeline BETWEEN 1 AND 1024),
    max_running INTEGER CHECK (max_running BETWEEN 1 AND 4294967295),  -- so many of its tasks at once, over all ticks
    serial   INTEGER NOT NULL DEFAULT 0 CHECK (serial IN (0, 1)),     -- 1: one task of a signature at a time
    paused   INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1))      -- 1: its tasks are not started
) STRICT, WITHOUT ROWID;
CREATE INDEX method_limited ON method (name) WHERE max_running > 0 OR serial = 1;

CREATE TABLE document (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    key        TEXT    UNIQUE CHECK (key GLOB '*[^0-9]*'),  -- not only digits, which are an id
    family     TEXT    NOT NULL DEFAULT '',
    title      TEXT    NOT NULL DEFAULT '',
    state      TEXT    NOT NULL DEFAULT '',
    attributes TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(attributes) AND json_type(attributes) = 'object'),
    created_at TEXT    NOT NULL DEFAULT (datetime('now')) CHECK (created_at IS datetime(created_at)),
    updated_at TEXT    NOT NULL DEFAULT (datetime('now')) CHECK (updated_at IS datetime(updated_at)),
    revision   INTEGER NOT NULL DEFAULT 0            -- raised by the runner's own updates; triggers see to the others
) STRICT;

-- What happened to a document.
CREATE TABLE history (
    id          INTEGER PRIMARY KEY,
    document_id INTEGER NOT NULL REFERENCES document (id),
    at          TEXT    NOT NULL DEFAULT (datetime('now')),
    level       TEXT    NOT NULL DEFAULT 'info',
    message     TEXT    NOT NULL,
    timer       TEXT,
    timer_level INTEGER
) STRICT;
CREATE INDEX history_document ON history (document_id);
CREATE INDEX history_at ON history (at);

CREATE TABLE timer (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT    NOT NULL UNIQUE CHECK (name <> ''),
    title     TEXT    NOT NULL DEFAULT '',
    reference TEXT    CHECK (reference <> '' AND instr(reference, '"') = 0),  -- the document's attribute to count from
    delta     TEXT    NOT NULL DEFAULT '0',         -- a duration added to the reference date
    family    TEXT,                                 -- of a timer with states: only documents of this family; null is any
    paused    INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1))     -- 1: its levels are not done
) STRICT;

-- The states that a timer is bound to. It is attached to a document that enters one of them from elsewhere, and detached
-- from a document that leaves them.
CREATE TABLE timer_state (
    state    TEXT    NOT NULL,
    timer_id INTEGER NOT NULL REFERENCES timer (id) ON DELETE CASCADE,
    position INTEGER NOT NULL DEFAULT 0,             -- in the order in which they were given
    PRIMARY KEY (state, timer_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX timer_state_timer ON timer_state (timer_id, state);

CREATE TABLE timer_action (
    timer_id   INTEGER NOT NULL REFERENCES timer (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL CHECK (position >= 0),
    delay      TEXT    NOT NULL DEFAULT '0',        -- a duration
    iterations INTEGER NOT NULL DEFAULT 1 CHECK (iterations BETWEEN 1 AND 4294967295),
    "limit"    TEXT,                                -- how late it may be done: a duration or 'none'
    state      TEXT,
    mail       TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(mail) AND json_type(mail) = 'array'),  -- template names
    method     TEXT    CHECK (method <> ''),
    params     TEXT    CHECK (params IS NULL OR json_valid(params) AND method IS NOT NULL),  -- of the method's task
    PRIMARY KEY (timer_id, position),
    CHECK (state IS NOT NULL OR method IS NOT NULL OR json_array_length(mail) > 0)
) STRICT, WITHOUT ROWID;

-- A timer that is attached to a document.
CREATE TABLE attachment (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    timer_id     INTEGER NOT NULL REFERENCES timer (id),
    document_id  INTEGER NOT NULL REFERENCES document (id),
    origin       TEXT,
    reference_at TEXT    CHECK (reference_at IS NULL OR reference_at > '0' AND reference_at IS datetime(reference_at, '+0 days')),  -- given when attaching
    attached_at  TEXT    NOT NULL DEFAULT (datetime('now')),
    -- Written by the runner and its triggers alone:
    dated_at     TEXT,                               -- when its date has changed; null when it has not since it was attached
    level        INTEGER NOT NULL DEFAULT 0,
    step         INTEGER NOT NULL DEFAULT 0,         -- the level's next step: 0 state, 1 mails, 2 method
    counted_from TEXT,                               -- the reference date, without the delta
    due_at       TEXT,                               -- null while it waits for a date
    waiting      INTEGER NOT NULL DEFAULT 0,         -- for its mails, its task or the next tick
    needs_reschedule INTEGER NOT NULL DEFAULT 1,     -- what has changed: 1 the date, 2 the definition
    attempts     INTEGER NOT NULL DEFAULT 0,
    last_error   TEXT,
    task_id      INTEGER,                            -- the last task of the level's method step
    mail_count   INTEGER NOT NULL DEFAULT 0,         -- how many mails the level's mails step has queued
    failed_run_id INTEGER,                           -- the tick in which the step failed last, until it is begun again
    paused       INTEGER NOT NULL DEFAULT 0,         -- as its timer
    changes_state INTEGER NOT NULL DEFAULT 0,        -- 1 while its own level changes the state: it stays for that level
    detached     INTEGER NOT NULL DEFAULT 0,         -- 1: the history of its end is written
    UNIQUE (document_id, timer_id)
) STRICT;
CREATE INDEX attachment_due ON attachment (due_at, document_id, waiting) WHERE paused = 0 AND due_at IS NOT NULL;
CREATE INDEX attachment_needs_reschedule ON attachment (id) WHERE needs_reschedule > 0;

-- The levels that were done or skipped. These rows outlive the attachment, the timer and the document.
CREATE TABLE firing (
    id          INTEGER PRIMARY KEY,
    timer       TEXT    NOT NULL,
    document_id INTEGER NOT NULL,
    level       INTEGER NOT NULL,
    due_at      TEXT    NOT NULL,
    at          TEXT    NOT NULL,
    status      TEXT    NOT NULL,
    -- Of a skipped level: the first step that was not done, as in attachment, and which of its mails were sent.
    step        INTEGER NOT NULL DEFAULT 0,
    sent        TEXT,
    result      TEXT
) STRICT;
CREATE INDEX firing_at ON firing (at);
CREATE INDEX firing_document ON firing (document_id);
CREATE INDEX firing_skipped ON firing (id) WHERE status = 'skipped';

-- What adds tasks again and again. A next date that is null is worked out by the next tick.
CREATE TABLE schedule (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE CHECK (trim(name) <> ''),
    cron          TEXT,                              -- five fields, or a name such as @daily
    every         TEXT    CHECK (                    -- a duration, as in method
                    every GLOB '[0-9]*[a-z]' AND every GLOB '*[1-9]*' AND NOT every GLOB '*[^0-9 ywdhmso]*' AND
                    NOT every GLOB '*[^0-9][ywdhms]*' AND NOT every GLOB '*[^m]o*' AND NOT every GLOB '*[0-9] *'),
    first_at      TEXT    CHECK (first_at IS NULL OR first_at > '0' AND first_at IS datetime(first_at, '+0 days')),
    zone          TEXT,                              -- an IANA name; null for that of the settings
    missed        TEXT    NOT NULL DEFAULT 'last' CHECK (missed IN ('last', 'all')),
    "limit"       TEXT    CHECK (                    -- how late a task may be added
                    "limit" GLOB '[0-9]*[a-z]' AND "limit" GLOB '*[1-9]*' AND NOT "limit" GLOB '*[^0-9 ywdhmso]*' AND
                    NOT "limit" GLOB '*[^0-9][ywdhms]*' AND NOT "limit" GLOB '*[^m]o*' AND NOT "limit" GLOB '*[0-9] *'),
    overlap       TEXT    NOT NULL DEFAULT 'skip' CHECK (overlap IN ('skip', 'queue')),
    method        TEXT    NOT NULL CHECK (method <> ''),
    params        TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(params)),
    hidden_params TEXT    CHECK (hidden_params IS NULL OR json_valid(hidden_params)),
    file_name     TEXT    CHECK (file_name <> '' AND instr(file_name, '/') = 0 AND file_name NOT IN ('.', '..')),
    file          BLOB,
    owner         TEXT,
    signature     TEXT,
    is_unique     INTEGER NOT NULL DEFAULT 0 CHECK (is_unique IN (0, 1)),
    priority      INTEGER NOT NULL DEFAULT 0,
    retries       INTEGER CHECK (retries BETWEEN 0 AND 4294967295),
    timeout       TEXT    CHECK (
                    timeout GLOB '[0-9]*[a-z]' AND timeout GLOB '*[1-9]*' AND NOT timeout GLOB '*[^0-9 ywdhmso]*' AND
                    NOT timeout GLOB '*[^0-9][ywdhms]*' AND NOT timeout GLOB '*[^m]o*' AND NOT timeout GLOB '*[0-9] *'),
    document_id   INTEGER,
    notify        TEXT    CHECK (notify IS NULL OR notify IN ('failed', 'ended') AND owner IS NOT NULL AND owner <> ''),
    paused        INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
    -- Written by the runner and its triggers alone:
    since_at      TEXT    NOT NULL DEFAULT (datetime('now')) CHECK (since_at IS datetime(since_at)),  -- its first occurrence is after this
    next_at       TEXT    CHECK (next_at IS datetime(next_at)),
    last_at       TEXT,                              -- the last occurrence that a task was added for
    last_task     INTEGER,
    skipped_at    TEXT,                              -- the last occurrence that no task was added for
    skipped_reason TEXT,
    error         TEXT,                              -- why no task can be added or no date be worked out
    CHECK ((cron IS NULL) <> (every IS NULL))
) STRICT;
CREATE INDEX schedule_due ON schedule (next_at) WHERE paused = 0;
CREATE INDEX schedule_document ON schedule (document_id) WHERE document_id IS NOT NULL;

CREATE TABLE task (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    method        TEXT    NOT NULL DEFAULT '',
    command       TEXT    CHECK (command IS NULL OR json_valid(command) AND json_type(command, '$[0]') IS 'text'),  -- argv, in place of a method
    params        TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(params)),
    hidden_params TEXT    CHECK (hidden_params IS NULL OR json_valid(hidden_params)),
    owner         TEXT,
    signature     TEXT,
    status        TEXT    NOT NULL DEFAULT 'TO_RUN' CHECK (
                    status = 'TO_RUN' OR status = 'RUNNING' OR status = 'COMPLETED' OR status = 'WAITING' OR
                    status = 'FAILED' OR status = 'INTERRUPTED' OR status = 'CANCELLED'),
    priority      INTEGER NOT NULL DEFAULT 0,
    run_at        TEXT    CHECK (run_at IS NULL OR run_at > '0' AND run_at IS datetime(run_at, '+0 days')),  -- not before
    deferred      INTEGER NOT NULL DEFAULT 0,      -- 1 until run_at has come; 2 while its method or timer is paused
    after_id      INTEGER REFERENCES task (id) ON DELETE SET NULL,
    held          INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),      -- 1: WAITING until it is released
    notify        TEXT    CHECK (notify IS NULL OR notify IN ('failed', 'ended') AND owner IS NOT NULL AND owner <> ''),
    retries       INTEGER CHECK (retries BETWEEN 0 AND 4294967295),
    timeout       TEXT    CHECK (timeout IS NULL OR                       -- as in method
                    timeout GLOB '[0-9]*[a-z]' AND timeout GLOB '*[1-9]*' AND NOT timeout GLOB '*[^0-9 ywdhmso]*' AND
                    NOT timeout GLOB '*[^0-9][ywdhms]*' AND NOT timeout GLOB '*[^m]o*' AND NOT timeout GLOB '*[0-9] *'),
    document_id   INTEGER REFERENCES document (id),
    attachment_id INTEGER,                                                -- it is the method step of this attachment
    schedule      TEXT,                                                   -- the name of the schedule that added it
    created_at    TEXT    NOT NULL DEFAULT (datetime('now')) CHECK (created_at IS datetime(created_at)),
    attempt       INTEGER NOT NULL DEFAULT 0,
    -- Written by triggers alone:
    limited_by    TEXT,                            -- the row in method that does it, if that has limits
    behind        INTEGER NOT NULL DEFAULT 0,      -- 1: while another one of its signature goes first
    worker_id     INTEGER,
    stop_requested TEXT   CHECK (stop_requested IN ('stop', 'cancel')),  -- what its worker is asked to do
    started_at    TEXT,
    ended_at      TEXT,
    duration_ms   INTEGER,
    exit_code     INTEGER,
    progress      TEXT,
    result        TEXT,
    CHECK ((method = '') = (command IS NOT NULL))
) STRICT;
CREATE INDEX task_ready ON task (priority DESC, id) WHERE status = 'TO_RUN' AND deferred = 0 AND limited_by IS NULL;
CREATE INDEX task_limited ON task (limited_by, priority DESC, id) WHERE
    status = 'TO_RUN' AND deferred = 0 AND limited_by IS NOT NULL AND behind = 0;
CREATE INDEX task_limited_running ON task (limited_by, signature) WHERE status = 'RUNNING' AND limited_by IS NOT NULL;
CREATE INDEX task_serial ON task (limited_by, signature, behind, id) WHERE
    status = 'TO_RUN' AND deferred = 0 AND limited_by IS NOT NULL AND signature IS NOT NULL;
CREATE INDEX task_deferred ON task (run_at) WHERE deferred = 1;
CREATE INDEX task_paused ON task (id) WHERE deferred = 2;
CREATE INDEX task_running ON task (worker_id) WHERE status = 'RUNNING';
CREATE INDEX task_unfinished ON task (status) WHERE
    status = 'WAITING' OR status = 'FAILED' OR status = 'INTERRUPTED' OR status = 'CANCELLED';
CREATE INDEX task_ended ON task (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX task_after ON task (after_id) WHERE after_id IS NOT NULL;
CREATE INDEX task_signature ON task (signature) WHERE signature IS NOT NULL;
CREATE INDEX task_schedule ON task (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX task_of_schedule ON task (schedule) WHERE
    schedule IS NOT NULL AND (status = 'WAITING' OR status = 'TO_RUN' OR status = 'RUNNING');
CREATE INDEX task_document ON task (document_id) WHERE document_id IS NOT NULL;

CREATE TABLE task_log (
    task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at      TEXT    NOT NULL,
    level   TEXT    NOT NULL,
    message TEXT    NOT NULL,
    details TEXT,
    PRIMARY KEY (task_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE task_file (
    id      INTEGER PRIMARY KEY,
    task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
    kind    TEXT    NOT NULL CHECK (kind IN ('input', 'output')),
    name    TEXT    NOT NULL CHECK (name <> '' AND instr(name, '/') = 0 AND name NOT IN ('.', '..')),
    content BLOB    NOT NULL,
    UNIQUE (task_id, kind)
) STRICT;

CREATE TABLE template (
    name    TEXT PRIMARY KEY CHECK (name <> ''),
    "from"  TEXT,
    "to"    TEXT NOT NULL,
    cc      TEXT NOT NULL DEFAULT '',
    bcc     TEXT NOT NULL DEFAULT '',
    subject TEXT NOT NULL,
    body    TEXT NOT NULL,
    html    TEXT
) STRICT, WITHOUT ROWID;

-- The outbox. A mail is written in the transaction of the step that causes it, and sent after that.
CREATE TABLE mail (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    status        TEXT    NOT NULL DEFAULT 'queued' CHECK (
                    status = 'queued' OR status = 'sending' OR status = 'sent' OR status = 'failed'),
    template      TEXT,
    document_id   INTEGER,
    attachment_id INTEGER,                           -- it belongs to this attachment's level; 0: it was called off
    timer         TEXT,
    timer_level   INTEGER,
    "from"        TEXT    NOT NULL DEFAULT '',       -- empty: the setting mail.from
    "to"          TEXT    NOT NULL CHECK ("to" <> ''),  -- an address, or a JSON array of addresses
    cc            TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(cc) AND json_type(cc) = 'array'),
    bcc           TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(bcc) AND json_type(bcc) = 'array'),
    subject       TEXT    NOT NULL DEFAULT '',
    body          TEXT    NOT NULL DEFAULT '',
    html          TEXT,
    attempts      INTEGER NOT NULL DEFAULT 0,
    last_error    TEXT,
    run_at        TEXT,                               -- not before; set when a try has failed
    created_at    TEXT    NOT NULL DEFAULT (datetime('now')),
    sent_at       TEXT,
    message_id    TEXT    NOT NULL DEFAULT ('<' || lower(hex(randomblob(16))) || '@localhost>'),
    worker_id     INTEGER,
    paused        INTEGER NOT NULL DEFAULT 0          -- as its attachment
) STRICT;
CREATE INDEX mail_queued ON mail (paused, id, run_at) WHERE status = 'queued';
CREATE INDEX mail_sending ON mail (worker_id) WHERE status = 'sending';
CREATE INDEX mail_over ON mail (created_at) WHERE status = 'sent' OR status = 'failed';
CREATE INDEX mail_failed ON mail (id) WHERE status = 'failed' AND attachment_id IS NOT 0;
CREATE INDEX mail_attachment ON mail (attachment_id) WHERE attachment_id IS NOT NULL;

-- Completes a task that any program inserts: it waits for the task before it, for its release or for its time. What it
-- follows and what it is about must be there, also for programs that leave foreign keys off.
CREATE TRIGGER task_inserted AFTER INSERT ON task
WHEN NEW.after_id IS NOT NULL OR NEW.held = 1 OR NEW.run_at IS NOT NULL OR NEW.document_id IS NOT NULL
BEGIN
    SELECT RAISE(ABORT, 'there is no such task to follow or no such document')
     WHERE NEW.after_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM task WHERE id = NEW.after_id AND id <> NEW.id)
        OR NEW.document_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM document WHERE id = NEW.document_id);
    UPDATE task
       SET deferred = NEW.run_at IS NOT NULL,
           status = CASE WHEN NEW.held = 0 AND (NEW.after_id IS NULL
                           OR (SELECT status FROM task WHERE id = NEW.after_id) = 'COMPLETED')
                         THEN 'TO_RUN' ELSE 'WAITING' END
     WHERE id = NEW.id AND NEW.status = 'TO_RUN'
       AND (NEW.after_id IS NOT NULL OR NEW.held = 1 OR NEW.run_at IS NOT NULL);
END;

CREATE TRIGGER task_held AFTER UPDATE OF held ON task
WHEN NEW.held <> OLD.held
BEGIN
    UPDATE task SET status = 'WAITING' WHERE id = NEW.id AND held = 1 AND status = 'TO_RUN';
    UPDATE task SET status = 'TO_RUN'
     WHERE id = NEW.id AND held = 0 AND status = 'WAITING'
       AND (after_id IS NULL OR (SELECT status FROM task WHERE id = NEW.after_id) = 'COMPLETED');
END;

CREATE TRIGGER task_deleted BEFORE DELETE ON task
WHEN OLD.status <> 'COMPLETED'
BEGIN
    UPDATE task SET status = 'CANCELLED', deferred = 0, ended_at = datetime('now')
     WHERE after_id = OLD.id AND status = 'WAITING';
END;

-- A worker defers the tasks of what is paused when it comes to them. Whenever that may have changed they are tried again.
CREATE TRIGGER method_paused AFTER UPDATE OF name, paused ON method
WHEN NEW.paused <> OLD.paused OR NEW.name <> OLD.name
BEGIN
    UPDATE task SET deferred = 0 WHERE deferred = 2;
END;

CREATE TRIGGER method_inserted AFTER INSERT ON method
BEGIN
    UPDATE task SET deferred = 0 WHERE deferred = 2;
END;

CREATE TRIGGER method_deleted AFTER DELETE ON method
BEGIN
    UPDATE task SET deferred = 0 WHERE deferred = 2;
END;

CREATE TRIGGER timer_paused AFTER UPDATE OF paused ON timer
WHEN NEW.paused <> OLD.paused
BEGIN
    UPDATE attachment SET paused = NEW.paused WHERE timer_id = NEW.id;
    UPDATE mail SET paused = NEW.paused
     WHERE (status = 'queued' OR status = 'sending') AND attachment_id IN (SELECT id FROM attachment WHERE timer_id = NEW.id);
    UPDATE task SET deferred = 0 WHERE deferred = 2;
END;

-- Mails the owner of a task that is over for good, whatever has ended it.
CREATE TRIGGER task_notice AFTER UPDATE OF status ON task
WHEN NEW.notify IS NOT NULL
 AND (OLD.status = 'WAITING' OR OLD.status = 'TO_RUN' OR OLD.status = 'RUNNING')
 AND (NEW.status = 'FAILED' OR NEW.status = 'INTERRUPTED'
      OR NEW.notify = 'ended' AND (NEW.status = 'COMPLETED' OR NEW.status = 'CANCELLED'))
BEGIN
    INSERT INTO mail (document_id, "from", "to", subject, body, created_at, message_id)
    SELECT NEW.document_id, sender, json_array(NEW.owner), what,
           what || char(10)
           || coalesce(char(10) || (SELECT substr(message, 1, 2000) FROM task_log
                                     WHERE task_id = NEW.id AND attempt = NEW.attempt AND level = 'error'
                                       AND (NEW.status = 'FAILED' OR NEW.status = 'INTERRUPTED')
                                     ORDER BY seq DESC LIMIT 1) || char(10), '')
           || coalesce(char(10) || 'signature: ' || NEW.signature, '')
           || char(10) || 'attempt: ' || NEW.attempt
           || coalesce(char(10) || 'ended at: ' || NEW.ended_at || ' UTC', '')
           || char(10) || char(10) || '''runner task show ' || NEW.id || ''' shows all of it.' || char(10),
           coalesce(NEW.ended_at, datetime('now')),
           '<task-' || NEW.id || '.' || lower(hex(randomblob(12))) || '@'
           || iif(domain <> '' AND length(domain) <= 180 AND domain NOT GLOB '*[^a-zA-Z0-9.-]*', domain, 'localhost') || '>'
      FROM (SELECT sender, rtrim(substr(sender, instr(sender, '@') + 1), '>') AS domain,
                   'task ' || NEW.id || ' (' || iif(NEW.method <> '', NEW.method, json_extract(NEW.command, '$[0]')) || ') '
                   || CASE NEW.status WHEN 'COMPLETED' THEN 'is completed' WHEN 'FAILED' THEN 'has failed'
                                      WHEN 'CANCELLED' THEN 'was cancelled' ELSE 'was interrupted' END AS what
              FROM (SELECT coalesce((SELECT value FROM setting WHERE key = 'mail.from'), '') AS sender));
END;

-- A task knows which row in method it is done by, if that has limits: the one of its name, else the service of the longest.
-- It is looked up anew when such rows come, change and go, and when a task that was over is to run again.
CREATE TRIGGER task_limited AFTER INSERT ON task
WHEN EXISTS (SELECT 1 FROM method
              WHERE (max_running > 0 OR serial = 1)
                AND (name = NEW.method
                     OR name LIKE '%:*' AND substr(name, 1, length(name) - 1) = substr(NEW.method, 1, length(name) - 1)))
BEGIN
    UPDATE task SET method = method WHERE id = NEW.id;
END;
CREATE TRIGGER task_again AFTER UPDATE OF status ON task
WHEN (OLD.status = 'COMPLETED' OR OLD.status = 'FAILED' OR OLD.status = 'INTERRUPTED' OR OLD.status = 'CANCELLED')
 AND (NEW.limited_by IS NOT NULL OR EXISTS (SELECT 1 FROM method WHERE max_running > 0 OR serial = 1))
BEGIN
    UPDATE task SET method = method WHERE id = NEW.id;
END;
CREATE TRIGGER task_method AFTER UPDATE OF method ON task
BEGIN
    UPDATE task
       SET limited_by = (SELECT CASE WHEN max_running > 0 OR serial = 1 THEN name END
                           FROM method
                          WHERE name = NEW.method
                             OR name LIKE '%:*' AND length(name) <= length(NEW.method)
                            AND substr(name, 1, length(name) - 1) = substr(NEW.method, 1, length(name) - 1)
                          ORDER BY name = NEW.method DESC, length(name) DESC LIMIT 1)
     WHERE id = NEW.id;
END;
CREATE TRIGGER method_limits_inserted AFTER INSERT ON method
WHEN EXISTS (SELECT 1 FROM method WHERE max_running > 0 OR serial = 1)
  OR EXISTS (SELECT 1 FROM task WHERE limited_by = NEW.name)  -- INSERT OR REPLACE
BEGIN
    UPDATE task SET method = method
     WHERE (method = NEW.name OR NEW.name LIKE '%:*' AND substr(method, 1, length(NEW.name) - 1) || '*' = NEW.name)
       AND (status = 'TO_RUN' OR status = 'WAITING' OR status = 'RUNNING');
END;
CREATE TRIGGER method_limits_updated AFTER UPDATE OF name, max_running, serial ON method
WHEN NEW.name <> OLD.name OR NEW.serial <> OLD.serial OR (NEW.max_running IS NULL) <> (OLD.max_running IS NULL)
BEGIN
    UPDATE task SET method = method
     WHERE (method IN (OLD.name, NEW.name)
            OR OLD.name LIKE '%:*' AND substr(method, 1, length(OLD.name) - 1) || '*' = OLD.name
            OR NEW.name LIKE '%:*' AND substr(method, 1, length(NEW.name) - 1) || '*' = NEW.name)
       AND (status = 'TO_RUN' OR status = 'WAITING' OR status = 'RUNNING');
END;
CREATE TRIGGER method_limits_deleted AFTER DELETE ON method
WHEN OLD.max_running > 0 OR OLD.serial = 1 OR EXISTS (SELECT 1 FROM method WHERE max_running > 0 OR serial = 1)
BEGIN
    UPDATE task SET method = method
     WHERE (method = OLD.name OR OLD.name LIKE '%:*' AND substr(method, 1, length(OLD.name) - 1) || '*' = OLD.name)
       AND (status = 'TO_RUN' OR status = 'WAITING' OR status = 'RUNNING');
END;

-- Of the tasks of a serial method and one signature the first that is ready is not behind, while none runs. Each statement
-- finds its few rows by the indexes task_serial and task_limited_running, however many tasks there are.
CREATE TRIGGER task_turn AFTER UPDATE OF status, deferred, limited_by, signature ON task
WHEN (NEW.limited_by IS NOT NULL OR OLD.limited_by IS NOT NULL) AND (NEW.signature <> '' OR OLD.signature <> '')
 AND (NEW.status IN ('TO_RUN', 'RUNNING') OR OLD.status IN ('TO_RUN', 'RUNNING'))
 AND (NEW.behind = 1 OR EXISTS (SELECT 1 FROM method WHERE name IN (NEW.limited_by, OLD.limited_by) AND serial = 1))
BEGIN
    UPDATE task SET behind = 0
     WHERE id = NEW.id AND behind = 1
       AND (limited_by IS NOT OLD.limited_by OR signature IS NOT OLD.signature
            OR NOT EXISTS (SELECT 1 FROM method WHERE name = NEW.limited_by AND serial = 1));
    UPDATE task SET behind = 1
     WHERE limited_by = NEW.limited_by AND signature = NEW.signature AND behind = 0
       AND status = 'TO_RUN' AND deferred = 0
       AND NEW.signature <> '' AND EXISTS (SELECT 1 FROM method WHERE name = NEW.limited_by AND serial = 1)
       AND (EXISTS (SELECT 1 FROM task WHERE limited_by = NEW.limited_by AND signature = NEW.signature AND status = 'RUNNING')
            OR id > (SELECT min(id) FROM (
                     SELECT min(id) AS id FROM task WHERE limited_by = NEW.limited_by AND signature = NEW.signature
                        AND behind = 0 AND status = 'TO_RUN' AND deferred = 0
                     UNION ALL
                     SELECT min(id) FROM task WHERE limited_by = NEW.limited_by AND signature = NEW.signature
                        AND behind = 1 AND status = 'TO_RUN' AND deferred = 0)));
    UPDATE task SET behind = 0
     WHERE behind = 1 AND id IN (
           SELECT min(id) FROM task WHERE limited_by = NEW.limited_by AND signature = NEW.signature
              AND behind = 1 AND status = 'TO_RUN' AND deferred = 0
           UNION ALL
           SELECT min(id) FROM task WHERE limited_by = OLD.limited_by AND signature = OLD.signature
              AND behind = 1 AND status = 'TO_RUN' AND deferred = 0)
       AND NOT EXISTS (SELECT 1 FROM task AS other WHERE other.limited_by = task.limited_by AND other.signature = task.signature
                          AND other.status = 'RUNNING')
       AND NOT EXISTS (SELECT 1 FROM task AS other WHERE other.limited_by = task.limited_by AND other.signature = task.signature
                          AND other.behind = 0 AND other.status = 'TO_RUN' AND other.deferred = 0 AND other.id < task.id);
END;
CREATE TRIGGER task_turn_deleted AFTER DELETE ON task
WHEN OLD.limited_by IS NOT NULL AND OLD.signature <> ''
BEGIN
    UPDATE task SET behind = 0
     WHERE behind = 1
       AND id = (SELECT min(id) FROM task WHERE limited_by = OLD.limited_by AND signature = OLD.signature
                    AND behind = 1 AND status = 'TO_RUN' AND deferred = 0)
       AND NOT EXISTS (SELECT 1 FROM task WHERE limited_by = OLD.limited_by AND signature = OLD.signature AND status = 'RUNNING')
       AND NOT EXISTS (SELECT 1 FROM task WHERE limited_by = OLD.limited_by AND signature = OLD.signature
                          AND behind = 0 AND status = 'TO_RUN' AND deferred = 0);
END;

-- Other dates count from the moment of the change. The runner itself writes the next date in the same statement.
CREATE TRIGGER schedule_redated AFTER UPDATE OF cron, every, first_at, zone ON schedule
WHEN NEW.next_at IS OLD.next_at
 AND (NEW.cron IS NOT OLD.cron OR NEW.every IS NOT OLD.every OR NEW.first_at IS NOT OLD.first_at OR NEW.zone IS NOT OLD.zone)
BEGIN
    UPDATE schedule SET next_at = NULL, since_at = datetime('now') WHERE id = NEW.id;
END;

-- Deletes what belongs to a document, also for programs that leave foreign keys off. It is no part of the foreign keys,
-- since INSERT OR REPLACE would then delete it too.
CREATE TRIGGER document_deleted AFTER DELETE ON document
BEGIN
    DELETE FROM document_replaced WHERE id = OLD.id;
    DELETE FROM attachment WHERE document_id = OLD.id;
    DELETE FROM history WHERE document_id = OLD.id;
    UPDATE task SET document_id = NULL WHERE document_id = OLD.id;
    UPDATE schedule SET document_id = NULL WHERE document_id = OLD.id;
END;

CREATE TRIGGER attachment_checked BEFORE INSERT ON attachment
BEGIN
    SELECT RAISE(ABORT, 'there is no such document or no such timer')
     WHERE NOT EXISTS (SELECT 1 FROM document WHERE document.id = NEW.document_id)
        OR NOT EXISTS (SELECT 1 FROM timer WHERE timer.id = NEW.timer_id);
    SELECT RAISE(ABORT, 'the document is in none of the states of the timer, or not of its family')
     WHERE EXISTS (SELECT 1 FROM timer_state WHERE timer_state.timer_id = NEW.timer_id)
       AND NOT EXISTS (SELECT 1 FROM document
                         JOIN timer ON timer.id = NEW.timer_id
                         JOIN timer_state ON timer_state.timer_id = timer.id AND timer_state.state = document.state
                        WHERE document.id = NEW.document_id AND coalesce(timer.family, document.family) = document.family);
END;

CREATE TRIGGER timer_deleted BEFORE DELETE ON timer
WHEN EXISTS (SELECT 1 FROM attachment WHERE timer_id = OLD.id)
BEGIN
    SELECT RAISE(ABORT, 'the timer is attached to documents');
END;

-- Notices that the date which a timer counts from has changed, whichever program changed it. A row is written here for each
-- document whose attributes may have. json_each() with a key finds what a path would miss: older SQLite (before 3.45) finds no
-- name by its path that is written with \u, and of two equal names a path leads to the first, where readers of the attributes
-- take the last.
CREATE VIEW document_date (id, at, old_attributes, attributes) AS SELECT NULL, NULL, NULL, NULL;
CREATE TRIGGER document_redated INSTEAD OF INSERT ON document_date
BEGIN
    UPDATE attachment
       SET needs_reschedule = 1, dated_at = NEW.at
     WHERE document_id = NEW.id AND reference_at IS NULL
       AND EXISTS (SELECT 1 FROM timer
                    WHERE timer.id = attachment.timer_id AND reference IS NOT NULL
                      AND (SELECT json_group_array(value) FROM json_each(NEW.old_attributes) WHERE key = reference)
                       <> (SELECT json_group_array(value) FROM json_each(NEW.attributes) WHERE key = reference));
END;

-- A change by the runner itself has raised the revision, and took place when the runner's clock says.
CREATE TRIGGER document_attributes_changed AFTER UPDATE OF attributes ON document
WHEN NEW.attributes <> OLD.attributes
BEGIN
    INSERT INTO document_date
    VALUES (NEW.id, iif(NEW.revision <> OLD.revision, NEW.updated_at, datetime('now')), OLD.attributes, NEW.attributes);
END;

-- Attaches timers to a document that has entered their states, and detaches those whose states it has left. A row is written
-- here for each document that may have; the old family and state are null for one that was not there before. A timer whose
-- own level has taken the document out of its states goes only with another state, or with another family if it names one.
CREATE VIEW document_move (id, at, old_family, old_state, family, state) AS SELECT NULL, NULL, NULL, NULL, NULL, NULL;
CREATE TRIGGER document_moved INSTEAD OF INSERT ON document_move
BEGIN
    UPDATE attachment SET detached = 1
     WHERE attachment.document_id = NEW.id AND attachment.changes_state = 0
       AND EXISTS (SELECT 1 FROM timer_state JOIN timer ON timer.id = timer_state.timer_id
                    WHERE timer_state.timer_id = attachment.timer_id
                      AND (NEW.state <> NEW.old_state OR NEW.family <> NEW.old_family AND timer.family IS NOT NULL))
       AND NOT EXISTS (SELECT 1 FROM timer_state JOIN timer ON timer.id = timer_state.timer_id
                        WHERE timer_state.timer_id = attachment.timer_id AND timer_state.state = NEW.state
                          AND coalesce(timer.family, NEW.family) = NEW.family);
    INSERT INTO history (document_id, at, message, timer, timer_level)
    SELECT NEW.id, NEW.at, 'timer detached: the document has left its states', timer.name, attachment.level
      FROM attachment JOIN timer ON timer.id = attachment.timer_id
     WHERE attachment.document_id = NEW.id AND attachment.detached = 1;
    DELETE FROM attachment WHERE attachment.document_id = NEW.id AND attachment.detached = 1;
    INSERT INTO attachment (timer_id, document_id, origin, attached_at)
    SELECT timer.id, NEW.id, 'state', NEW.at
      FROM timer_state JOIN timer ON timer.id = timer_state.timer_id
     WHERE timer_state.state = NEW.state AND coalesce(timer.family, NEW.family) = NEW.family
       AND (NEW.old_state IS NULL OR coalesce(timer.family, NEW.old_family) <> NEW.old_family
            OR NOT EXISTS (SELECT 1 FROM timer_state AS old WHERE old.state = NEW.old_state AND old.timer_id = timer.id))
       AND NOT EXISTS (SELECT 1 FROM attachment WHERE attachment.document_id = NEW.id AND attachment.timer_id = timer.id);
END;

CREATE TRIGGER document_state_changed AFTER UPDATE OF family, state ON document
WHEN (NEW.state <> OLD.state OR NEW.family <> OLD.family) AND EXISTS (SELECT 1 FROM timer_state)
BEGIN
    INSERT INTO document_move
    VALUES (NEW.id, iif(NEW.revision <> OLD.revision, NEW.updated_at, datetime('now')),
            OLD.family, OLD.state, NEW.family, NEW.state);
END;

CREATE TRIGGER document_updated AFTER UPDATE OF key, family, title, state, attributes ON document
WHEN NEW.revision = OLD.revision
BEGIN
    UPDATE document SET revision = revision + 1, updated_at = datetime('now') WHERE id = NEW.id;
    INSERT INTO history (document_id, message)
    SELECT NEW.id, 'state: ' || OLD.state || ' → ' || NEW.state WHERE NEW.state <> OLD.state;
END;

-- INSERT OR REPLACE deletes what it replaces, by its id or its key, without running the triggers on deletion (unless
-- recursive triggers are on). It counts as an update: what was there is kept here before, and what belonged to it is taken over.
CREATE TABLE document_replaced (
    id         INTEGER PRIMARY KEY,
    family     TEXT NOT NULL,
    state      TEXT NOT NULL,
    attributes TEXT NOT NULL
) STRICT;
CREATE TRIGGER document_replacing BEFORE INSERT ON document
BEGIN
    DELETE FROM document_replaced;
    INSERT INTO document_replaced (id, family, state, attributes)
    SELECT document.id, document.family, document.state, document.attributes
      FROM document WHERE document.id = NEW.id OR document.key = NEW.key;
END;
CREATE TRIGGER document_taken_over AFTER INSERT ON document
WHEN EXISTS (SELECT 1 FROM document_replaced)
BEGIN
    UPDATE history SET document_id = NEW.id
     WHERE history.document_id IN (SELECT old.id FROM document_replaced AS old WHERE old.id <> NEW.id);
    UPDATE attachment SET document_id = NEW.id
     WHERE attachment.document_id IN (SELECT old.id FROM document_replaced AS old WHERE old.id <> NEW.id);
    UPDATE schedule SET document_id = NEW.id
     WHERE schedule.document_id IN (SELECT old.id FROM document_replaced AS old WHERE old.id <> NEW.id);
    UPDATE task SET document_id = NEW.id
     WHERE task.document_id IN (SELECT old.id FROM document_replaced AS old WHERE old.id <> NEW.id);
    UPDATE firing SET document_id = NEW.id
     WHERE firing.document_id IN (SELECT old.id FROM document_replaced AS old WHERE old.id <> NEW.id);
    UPDATE mail SET document_id = NEW.id
     WHERE mail.attachment_id IN (SELECT attachment.id FROM attachment WHERE attachment.document_id = NEW.id);
    INSERT INTO document_date
    SELECT NEW.id, datetime('now'), old.attributes, NEW.attributes FROM document_replaced AS old;
    INSERT INTO history (document_id, message)
    SELECT NEW.id, 'state: ' || old.state || ' → ' || NEW.state
      FROM (SELECT * FROM document_replaced ORDER BY document_replaced.id = NEW.id DESC LIMIT 1) AS old
     WHERE old.state <> NEW.state;
    INSERT INTO document_move
    SELECT NEW.id, datetime('now'), old.family, old.state, NEW.family, NEW.state
      FROM (SELECT * FROM document_replaced ORDER BY document_replaced.id = NEW.id DESC LIMIT 1) AS old
     WHERE old.state <> NEW.state OR old.family <> NEW.family;
END;

CREATE TRIGGER document_inserted AFTER INSERT ON document
WHEN EXISTS (SELECT 1 FROM timer_state) AND NOT EXISTS (SELECT 1 FROM document_replaced)
BEGIN
    INSERT INTO document_move
    VALUES (NEW.id, iif(NEW.revision > 0, NEW.created_at, datetime('now')), NULL, NULL, NEW.family, NEW.state);
END;

CREATE TRIGGER attachment_inserted AFTER INSERT ON attachment
BEGIN
    INSERT INTO history (document_id, at, message, timer)
    SELECT NEW.document_id, NEW.attached_at,
           'timer attached' || coalesce(' by ' || NEW.origin, ''), name
      FROM timer WHERE id = NEW.timer_id;
    UPDATE attachment SET paused = 1
     WHERE id = NEW.id AND EXISTS (SELECT 1 FROM timer WHERE timer.id = NEW.timer_id AND timer.paused = 1);
END;

CREATE TRIGGER attachment_deleted AFTER DELETE ON attachment
WHEN OLD.detached = 0 AND EXISTS (SELECT 1 FROM document WHERE id = OLD.document_id)
BEGIN
    INSERT INTO history (document_id, message, timer)
    SELECT OLD.document_id, 'timer detached', name FROM timer WHERE id = OLD.timer_id;
END;

-- Cancels what is queued for a detached timer. What has begun already goes on.
CREATE TRIGGER attachment_called_off AFTER DELETE ON attachment
WHEN OLD.task_id IS NOT NULL OR OLD.mail_count > 0
BEGIN
    INSERT INTO history (document_id, message, timer, timer_level)
    SELECT OLD.document_id, called_off.what || ' called off: the timer was detached',
           (SELECT name FROM timer WHERE timer.id = OLD.timer_id), OLD.level
      FROM (SELECT 'task ' || task.id AS what FROM task
             WHERE task.id = OLD.task_id AND task.status IN ('WAITING', 'TO_RUN')
            UNION ALL
            SELECT 'mail ' || mail.id FROM mail WHERE mail.attachment_id = OLD.id AND mail.status = 'queued') AS called_off
     WHERE EXISTS (SELECT 1 FROM document WHERE document.id = OLD.document_id);
    UPDATE task SET status = 'CANCELLED', deferred = 0, ended_at = datetime('now')
     WHERE id = OLD.task_id AND status IN ('WAITING', 'TO_RUN');
    UPDATE mail SET status = 'failed', attachment_id = 0,
                    last_error = 'the timer was detached' || coalesce('; before that: ' || last_error, '')
     WHERE attachment_id = OLD.id AND status = 'queued';
END;

-- All attachments with the names of their timers and the titles of their documents.
CREATE VIEW timer_next AS
SELECT attachment.id, timer.name AS timer, attachment.document_id, document.title, attachment.origin,
       attachment.level, attachment.due_at, attachment.attempts, attachment.last_error
  FROM attachment
  JOIN timer ON timer.id = attachment.timer_id
  JOIN document ON document.id = attachment.document_id;

-- ==== Content ====
-- ---- Settings: 'runner config list' shows the defaults of the others ----

INSERT INTO setting (key, value) VALUES
    ('time.zone',        'Europe/Paris'),
    ('task.max_running', '2'),
    ('task.timeout',     '15m'),
    ('timer.hour_limit', '2'),
    ('mail.transport',   'file:mails'),   -- a folder beside the database, so that it works on any machine
    ('mail.from',        'Validation <validation@example.org>');

-- ---- Methods: the handlers that do the work ----
-- A command is a JSON array: the program and its arguments. These handlers need only /bin/sh, so that they run on any
-- machine; yours may be written in any language. A handler reads one JSON object on standard input, and reports by lines on
-- standard output. 'pause' only gives you time to watch.

INSERT INTO method (name, command, timeout, retries) VALUES
-- Reads everything from a source, in two phases, with logs, progress, debug messages and a result.
('TIFService:extractAll', json_array('/bin/sh', '-c', '
pause() { sleep 0.1 2>/dev/null || sleep 1; }
value() { case $input in
    *\"$1\":*) v=${input#*\"$1\":}; v=${v#*\"}; echo "${v%%\"*}" ;;
    *)         echo "(no $1)" ;;
esac; }
read -r input
source=$(value source)
token=$(value token)
cat <<END
{"type":"debug","message":"attempt of process $$ on $RUNNER_DB"}
{"type":"log","level":"info","message":"reading from $source with the token $token"}
END
if [ "$source" = nowhere ]; then
    cat <<END
{"type":"log","level":"error","message":"the source $source does not answer"}
END
    exit 1
fi
for step in 1 2 3 4; do
    pause
    cat <<END
{"type":"progress","phase":1,"phases":2,"step":$step,"max":4,"label":"reading page $step"}
END
done
cat <<END
{"type":"log","level":"warning","message":"1 object has no title","details":{"object":5207}}
END
for step in 10 20 30 40; do
    pause
    cat <<END
{"type":"debug","message":"objects up to $step are stored"}
{"type":"progress","phase":2,"phases":2,"step":$step,"max":40,"label":"storing objects"}
END
done
cat <<END
{"type":"log","level":"info","message":"40 objects extracted"}
{"type":"result","value":{"source":"$source","objects":40,"untitled":1}}
END
'), '5m', 1),

-- Any other line on standard output is logged as info, and a line on standard error as a warning.
('TIFService:publish', json_array('/bin/sh', '-c', '
echo "index rebuilt"
echo "the cache was empty" >&2
'), NULL, 0),

-- Reads the file of its task, and hands back a file with the lines that it refused.
('Import:members', json_array('/bin/sh', '-c', '
if [ -z "$RUNNER_FILE" ]; then
    cat <<END
{"type":"log","level":"error","message":"the task has no file"}
END
    exit 1
fi
taken=0
: > "$RUNNER_FILE.refused"
while read -r line; do
    case $line in
        *@*) taken=$((taken + 1)) ;;
        *)   echo "$line" >> "$RUNNER_FILE.refused"
             cat <<END ;;
{"type":"log","level":"error","message":"no address in this line","details":"$line"}
END
    esac
done < "$RUNNER_FILE"
cat <<END
{"type":"result","value":{"taken":$taken}}
{"type":"file","path":"$RUNNER_FILE.refused"}
END
'), '2m', 0),

-- All methods of a service: the part after the colon is the last argument, here $1.
('Mailing:*', json_array('/bin/sh', '-c', '
cat <<END
{"type":"log","level":"info","message":"the $1 is ready"}
{"type":"progress","step":1,"max":1}
END
', 'Mailing'), NULL, 3),

-- It works and prints nothing.
('Housekeeping:purge', json_array('/bin/sh', '-c', 'exit 0'), '10m', 0);

-- ---- Tasks that are over ----
-- Dates are UTC, as if today were 2026-04-10; further down they are moved. Hidden params reach the handler; the runner
-- shows them nowhere.

INSERT INTO task (id, method, params, hidden_params, owner, signature, status, priority, after_id, retries, timeout,
                  created_at, attempt, started_at, ended_at, duration_ms, exit_code, progress, result) VALUES
(1, 'TIFService:extractAll', '{"source":"apidae"}', '{"token":"0a1b2c3d4e5f"}', 'ada@example.org', 'extract:apidae',
 'COMPLETED', 0, NULL, NULL, NULL,
 '2026-04-01 06:00:00', 1, '2026-04-01 06:01:00', '2026-04-01 06:01:47', 47210, 0,
 '{"phase":2,"phases":2,"step":40,"max":40,"label":"storing objects"}',
 '{"source":"apidae","objects":40,"untitled":1}'),
-- It followed task 1.
(2, 'TIFService:publish', '{}', NULL, 'ada@example.org', NULL, 'COMPLETED', 0, 1, NULL, NULL,
 '2026-04-01 06:00:05', 1, '2026-04-01 06:01:47', '2026-04-01 06:01:48', 640, 0, NULL, NULL),
(3, 'Mailing:newsletter', '{"issue":41}', NULL, 'grace@example.org', 'newsletter:41', 'COMPLETED', 0, NULL, NULL, NULL,
 '2026-04-02 07:30:00', 1, '2026-04-02 07:31:00', '2026-04-02 07:31:09', 9018, 0, '{"step":1,"max":1}', NULL),
-- An import that logged errors and exited with 0: COMPLETED.
(4, 'Import:members', '{}', NULL, 'grace@example.org', 'import:members', 'COMPLETED', 0, NULL, NULL, NULL,
 '2026-04-02 09:12:00', 1, '2026-04-02 09:13:00', '2026-04-02 09:13:00', 210, 0, NULL, '{"taken":2}'),
-- The same without its file: it exited with 1, so it FAILED.
(5, 'Import:members', '{}', NULL, 'grace@example.org', 'import:members', 'FAILED', 0, NULL, NULL, NULL,
 '2026-04-02 09:05:00', 1, '2026-04-02 09:06:00', '2026-04-02 09:06:00', 95, 1, NULL, NULL),
-- Tried twice, as its method says: 'runner task logs 6' shows both attempts.
(6, 'TIFService:extractAll', '{"source":"nowhere"}', NULL, 'ada@example.org', 'extract:nowhere',
 'FAILED', 0, NULL, NULL, NULL,
 '2026-04-03 06:00:00', 2, '2026-04-03 06:02:00', '2026-04-03 06:02:01', 830, 1, NULL, NULL),
-- It took longer than its 30 seconds: INTERRUPTED.
(7, 'TIFService:extractAll', '{"source":"archive"}', NULL, 'ada@example.org', 'extract:archive',
 'INTERRUPTED', 0, NULL, 0, '30s',
 '2026-04-03 06:00:10', 1, '2026-04-03 06:01:00', '2026-04-03 06:01:30', 30004, NULL,
 '{"phase":1,"phases":2,"step":3,"max":4,"label":"reading page 3"}', NULL),
-- It follows task 7, and waits until that one is restarted and COMPLETED.
(8, 'TIFService:publish', '{}', NULL, 'ada@example.org', NULL, 'WAITING', 0, 7, NULL, NULL,
 '2026-04-03 06:00:12', 0, NULL, NULL, NULL, NULL, NULL, NULL),
-- The machine lost power.
(9, 'Mailing:reminder', '{"to":"late payers"}', NULL, 'grace@example.org', NULL, 'INTERRUPTED', 0, NULL, 0, NULL,
 '2026-04-04 17:58:00', 1, '2026-04-04 17:59:00', '2026-04-05 05:31:00', NULL, NULL, NULL, NULL),
(10, 'Mailing:newsletter', '{"issue":42}', NULL, 'grace@example.org', 'newsletter:42', 'CANCELLED', 0, NULL, NULL, NULL,
 '2026-04-05 08:00:00', 0, NULL, '2026-04-05 08:04:00', NULL, NULL, NULL, NULL),
(11, 'Housekeeping:purge', '{}', NULL, NULL, 'purge', 'COMPLETED', -10, NULL, NULL, NULL,
 '2026-04-05 23:00:00', 1, '2026-04-05 23:01:00', '2026-04-05 23:01:00', 31, 0, NULL, NULL),
(12, 'Housekeeping:purge', '{}', NULL, NULL, 'purge', 'COMPLETED', -10, NULL, NULL, NULL,
 '2026-04-06 23:00:00', 1, '2026-04-06 23:01:00', '2026-04-06 23:01:00', 28, 0, NULL, NULL),
(13, 'TIFService:extractAll', '{"source":"apidae"}', '{"token":"0a1b2c3d4e5f"}', 'ada@example.org', 'extract:apidae',
 'COMPLETED', 0, NULL, NULL, NULL,
 '2026-04-08 06:00:00', 1, '2026-04-08 06:01:00', '2026-04-08 06:01:51', 51377, 0,
 '{"phase":2,"phases":2,"step":40,"max":40,"label":"storing objects"}',
 '{"source":"apidae","objects":40,"untitled":1}');

INSERT INTO task_log (task_id, seq, attempt, at, level, message, details) VALUES
(1, 1, 1, '2026-04-01 06:01:00', 'info',    'reading from apidae with the token ***', NULL),
(1, 2, 1, '2026-04-01 06:01:21', 'warning', '1 object has no title', '{"object":5207}'),
(1, 3, 1, '2026-04-01 06:01:47', 'info',    '40 objects extracted', NULL),
(2, 1, 1, '2026-04-01 06:01:48', 'info',    'index rebuilt', NULL),
(3, 1, 1, '2026-04-02 07:31:09', 'info',    'the newsletter is ready', NULL),
(4, 1, 1, '2026-04-02 09:13:00', 'error',   'no address in this line', '"Charles Babbage, London"'),
(5, 1, 1, '2026-04-02 09:06:00', 'error',   'the task has no file', NULL),
(6, 1, 1, '2026-04-03 06:01:01', 'error',   'the source nowhere does not answer', NULL),
(6, 2, 2, '2026-04-03 06:02:01', 'error',   'the source nowhere does not answer', NULL),
(7, 1, 1, '2026-04-03 06:01:00', 'info',    'reading from archive with the token (no token)', NULL),
(7, 2, 1, '2026-04-03 06:01:30', 'error',   'ended at its time limit', NULL),
(9, 1, 1, '2026-04-05 05:31:00', 'error',   'the runner that ran this task died, or the machine did', NULL),
(13, 1, 1, '2026-04-08 06:01:00', 'info',    'reading from apidae with the token ***', NULL),
(13, 2, 1, '2026-04-08 06:01:24', 'warning', '1 object has no title', '{"object":5207}'),
(13, 3, 1, '2026-04-08 06:01:51', 'info',    '40 objects extracted', NULL);

-- ---- Pending tasks ----
-- A program gives what it needs; the other columns have defaults. (id and created_at are given here so that the example is
-- the same each time.)

INSERT INTO task (id, method, params, owner, signature, priority, created_at) VALUES
(14, 'Import:members', '{}', 'grace@example.org', 'import:members', 0, '2026-04-09 16:40:00'),
(15, 'Mailing:newsletter', '{"issue":43}', 'grace@example.org', 'newsletter:43', 0, '2026-04-09 16:45:00'),
-- It runs before the others.
(16, 'Mailing:alert', '{"text":"the castle is closed today"}', 'ada@example.org', NULL, 100, '2026-04-09 16:50:00');

-- It does not run before this time.
INSERT INTO task (id, method, run_at, created_at) VALUES
(17, 'Housekeeping:purge', date('now', '+30 days') || ' 02:00:00', '2026-04-09 16:55:00');

INSERT INTO task (id, method, params, hidden_params, owner, signature, created_at) VALUES
(18, 'TIFService:extractAll', '{"source":"datatourisme"}', '{"token":"f3b9d27c61e8"}', 'ada@example.org',
 'extract:datatourisme', '2026-04-09 17:00:00');

-- It becomes TO_RUN when task 18 is COMPLETED: with after_id a task is WAITING.
INSERT INTO task (id, method, owner, after_id, created_at) VALUES
(19, 'TIFService:publish', 'ada@example.org', 18, '2026-04-09 17:00:05'),
(20, 'Mailing:digest', 'grace@example.org', 19, '2026-04-09 17:00:10');

UPDATE task SET created_at = datetime(created_at, days), started_at = datetime(started_at, days),
                ended_at = datetime(ended_at, days)
  FROM (SELECT (julianday(date('now')) - julianday('2026-04-10')) || ' days' AS days);
UPDATE task_log SET at = datetime(at, days)
  FROM (SELECT (julianday(date('now')) - julianday('2026-04-10')) || ' days' AS days);

-- ---- Files: given with a task, or handed back by its handler ----

INSERT INTO task_file (id, task_id, kind, name, content) VALUES
(1, 4, 'input', 'members.csv', CAST('Ada Lovelace, ada@example.org
Charles Babbage, London
Grace Hopper, grace@example.org
' AS BLOB)),
(2, 4, 'output', 'members.csv.refused', CAST('Charles Babbage, London
' AS BLOB)),
(3, 14, 'input', 'members.csv', CAST('Joan Clarke, joan@example.org
Alan Turing, alan@example.org
' AS BLOB));

-- ---- Mail: the template of the reminder ----
-- It is filled from the document (doc), its attributes (attr) and the level that sends it (timer). An attribute that is a list
-- gives several recipients.

INSERT INTO template (name, "to", subject, body) VALUES
('reminder', '{{ attr.validators }}', 'To validate by {{ attr.date_butoir_validation }}: {{ doc.title }}',
'Hello,

"{{ doc.title }}" waits for your validation.
If nobody validates it by {{ attr.date_butoir_validation }}, it counts as not validated.
');

-- ---- Timers ----
-- The requirement: 5 days before the deadline the validators get a reminder; at the deadline, a document that nobody has
-- validated becomes 'Non validé'. The deadline is an attribute of the document. Users can change it, and the timer follows.
-- Two ways to write it, which do the same for documents of two families. A reminder goes out up to 3 days late.

INSERT INTO timer (id, name, title, reference, delta, family) VALUES
(1, 'validation',          'counts from 5 days before the deadline', 'date_butoir_validation', '-5d', 'report'),
(2, 'validation-by-delay', 'counts from the deadline',               'date_butoir_validation', '0',   'budget');

INSERT INTO timer_action (timer_id, position, delay, "limit", state, mail) VALUES
(1, 0, '0',   '3d', NULL,         json_array('reminder')),
(1, 1, '5d',  NULL, 'Non validé', json_array()),
-- A negative delay counts back from the date, and the next delay counts from the date again.
(2, 0, '-5d', '3d', NULL,         json_array('reminder')),
(2, 1, '0',   NULL, 'Non validé', json_array());

-- ---- Documents at different points of that ----

INSERT INTO document (id, key, family, title, state, attributes, created_at, updated_at) VALUES
-- Sent for validation a moment ago, with a deadline in 15 days: nothing has happened yet.
(1, 'annual-report', 'report', 'Annual report 2025', 'En validation',
 json_object('date_butoir_validation', date('now', '+15 days'), 'validators', 'ada@example.org'),
 date('now', '-9 days') || ' 07:10:00', datetime('now', '-20 minutes')),
-- The same with the other timer, and with two validators.
(2, 'budget', 'budget', 'Budget 2027', 'En validation',
 json_object('date_butoir_validation', date('now', '+15 days'),
             'validators', json_array('ada@example.org', 'Grace Hopper <grace@example.org>')),
 date('now', '-8 days') || ' 12:00:00', datetime('now', '-15 minutes')),
-- Its validator was reminded three days ago.
(3, 'minutes', 'report', 'Minutes of the board', 'En validation',
 json_object('date_butoir_validation', date('now', '+2 days'), 'validators', 'grace@example.org'),
 date('now', '-14 days') || ' 16:00:00', date('now', '-13 days') || ' 09:00:00'),
-- The machine was off when the reminder was due, so it was skipped. At the deadline it became 'Non validé'.
(4, 'survey', 'report', 'Survey of visitors', 'Non validé',
 json_object('date_butoir_validation', date('now', '-1 day'), 'validators', 'ada@example.org'),
 date('now', '-16 days') || ' 10:00:00', date('now', '-2 days') || ' 22:00:00'),
-- Validated in time: that has detached its timer.
(5, 'press-kit', 'report', 'Press kit', 'Validé',
 json_object('date_butoir_validation', date('now', '+5 days'), 'validators', 'grace@example.org'),
 date('now', '-11 days') || ' 08:00:00', date('now', '-2 days') || ' 13:20:00'),
-- No date yet: its timer waits for one.
(6, 'season-plan', 'report', 'Plan of the season', 'En validation',
 json_object('date_butoir_validation', '', 'validators', 'ada@example.org'),
 date('now', '-1 day') || ' 09:00:00', date('now', '-1 day') || ' 09:00:00'),
(7, 'tariffs', 'report', 'Tariffs 2031', 'En validation',
 json_object('date_butoir_validation', date('now', '+60 days'), 'validators', 'ada@example.org'),
 date('now', '-1 day') || ' 09:30:00', date('now', '-1 day') || ' 09:30:00'),
-- The next tick sends its reminder.
(8, 'guide', 'report', 'Visitors'' guide', 'En validation',
 json_object('date_butoir_validation', date('now', '+5 days'), 'validators', 'grace@example.org'),
 date('now', '-6 days') || ' 08:00:00', date('now', '-6 days') || ' 08:00:00'),
-- The next tick makes it 'Non validé': its deadline is today.
(9, 'map', 'report', 'Map of the gardens', 'En validation',
 json_object('date_butoir_validation', date('now'), 'validators', 'ada@example.org'),
 date('now', '-13 days') || ' 09:30:00', date('now', '-13 days') || ' 09:30:00');

-- Any program attaches a timer to a document by such an INSERT, and DELETE detaches it. The runner works out the dates. (id
-- and attached_at are given here so that the example is the same each time.)

INSERT INTO attachment (id, timer_id, document_id, origin, attached_at) VALUES
(3, 1, 3, 'state', date('now', '-13 days') || ' 09:00:00'),
(4, 1, 9, 'state', date('now', '-13 days') || ' 09:30:00'),
(5, 1, 8, 'state', date('now', '-6 days')  || ' 08:00:00'),
(6, 1, 6, 'state', date('now', '-1 day')   || ' 09:00:00'),
(7, 1, 7, 'state', date('now', '-1 day')   || ' 09:30:00'),
(8, 1, 1, 'state', datetime('now', '-20 minutes')),
(9, 2, 2, 'state', datetime('now', '-15 minutes'));

-- These timers are bound to a state, so they need no INSERT: triggers attach them to a document that enters 'En validation',
-- and detach them when it leaves. (Bound here, after the documents, they do not come to those that are there already.)

INSERT INTO timer_state (timer_id, state) VALUES (1, 'En validation'), (2, 'En validation');

-- ---- What has happened to the documents ----
-- The runner writes these rows itself. Here they tell the days before. (Midnight in Paris is 22:00 UTC, in winter 23:00.)

UPDATE attachment SET level = 1, needs_reschedule = 2 WHERE id = 3 OR id = 4;

INSERT INTO mail (id, status, template, document_id, attachment_id, timer, timer_level, "from", "to", subject, body,
                  attempts, created_at, sent_at, message_id) VALUES
(1, 'sent', 'reminder', 9, 4, 'validation', 0, 'Validation <validation@example.org>', json_array('ada@example.org'),
 'To validate by ' || date('now') || ': Map of the gardens',
'Hello,

"Map of the gardens" waits for your validation.
If nobody validates it by ' || date('now') || ', it counts as not validated.
', 1, date('now', '-6 days') || ' 22:00:00', date('now', '-6 days') || ' 22:00:00',
 '<1.5d1c0f6a9b3e47d28a60f1c4@example.org>'),
(2, 'sent', 'reminder', 3, 3, 'validation', 0, 'Validation <validation@example.org>', json_array('grace@example.org'),
 'To validate by ' || date('now', '+2 days') || ': Minutes of the board',
'Hello,

"Minutes of the board" waits for your validation.
If nobody validates it by ' || date('now', '+2 days') || ', it counts as not validated.
', 1, date('now', '-4 days') || ' 22:00:00', date('now', '-4 days') || ' 22:00:00',
 '<2.b07a6e2f41c94d0f93c5d8e1@example.org>');

INSERT INTO firing (id, timer, document_id, level, due_at, at, status, step, result) VALUES
(1, 'validation', 9, 0, date('now', '-6 days') || ' 22:00:00', date('now', '-6 days') || ' 22:00:00',
 'done', 0, 'mail reminder'),
(2, 'validation', 4, 0, date('now', '-7 days') || ' 22:00:00', date('now', '-3 days') || ' 05:31:00',
 'skipped', 1, 'not done: mail reminder'),
(3, 'validation', 3, 0, date('now', '-4 days') || ' 22:00:00', date('now', '-4 days') || ' 22:00:00',
 'done', 0, 'mail reminder'),
(4, 'validation', 4, 1, date('now', '-2 days') || ' 22:00:00', date('now', '-2 days') || ' 22:00:00',
 'done', 0, 'state Non validé');

INSERT INTO history (document_id, at, level, message, timer, timer_level) VALUES
(4, date('now', '-15 days') || ' 08:00:00', 'info', 'timer attached by state', 'validation', NULL),
(5, date('now', '-10 days') || ' 08:00:00', 'info', 'timer attached by state', 'validation', NULL),
(9, date('now', '-6 days') || ' 22:00:00', 'info', 'mail 1 queued from template reminder', 'validation', 0),
(9, date('now', '-6 days') || ' 22:00:00', 'info',
 'mail ''reminder'' sent to ada@example.org: To validate by ' || date('now') || ': Map of the gardens', 'validation', 0),
(4, date('now', '-3 days') || ' 05:31:00', 'warning',
 'level skipped: it was due at ' || date('now', '-6 days') || ' 00:00:00, 3d ago or more; not done: mail reminder',
 'validation', 0),
(3, date('now', '-4 days') || ' 22:00:00', 'info', 'mail 2 queued from template reminder', 'validation', 0),
(3, date('now', '-4 days') || ' 22:00:00', 'info',
 'mail ''reminder'' sent to grace@example.org: To validate by ' || date('now', '+2 days') || ': Minutes of the board',
 'validation', 0),
(5, date('now', '-2 days') || ' 13:20:00', 'info', 'state: En validation → Validé', NULL, NULL),
(5, date('now', '-2 days') || ' 13:20:00', 'info', 'timer detached: the document has left its states', 'validation', 0),
(4, date('now', '-2 days') || ' 22:00:00', 'info', 'state: En validation → Non validé', 'validation', 1),
(4, date('now', '-2 days') || ' 22:00:00', 'info', 'timer detached: it has come to its end', 'validation', 1);

COMMIT;

-- Tasks as a queue on SQLite that checks nothing and explains nothing would keep them.
CREATE TABLE task (
    id       INTEGER PRIMARY KEY,
    queue    TEXT    NOT NULL,
    method   TEXT    NOT NULL,
    params   TEXT    NOT NULL,
    status   INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL DEFAULT 0,
    run_at   INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    created  INTEGER NOT NULL,
    started  INTEGER,
    ended    INTEGER
);
CREATE INDEX task_ready ON task (priority DESC, run_at, id) WHERE status = 0;
CREATE TABLE history (id INTEGER PRIMARY KEY, task INTEGER NOT NULL, at INTEGER NOT NULL, event INTEGER NOT NULL, detail TEXT);

-- The journal of runs: version 3.
CREATE TABLE runs (
    id        TEXT PRIMARY KEY,
    pipeline  TEXT NOT NULL,
    file      NOT NULL,          -- path of the pipeline file; bytes where it is no text
    sha256    TEXT NOT NULL,     -- of that file, in hexadecimal
    inputs    TEXT,              -- JSON; none where they hold a secret
    fixed     TEXT NOT NULL,     -- JSON: what expressions see of the run and the place where it runs
    session   INTEGER NOT NULL DEFAULT 1, -- how often it was started or resumed
    process   INTEGER NOT NULL,  -- id of the process at work
    since     INTEGER NOT NULL,  -- when that process began, in ticks since the machine did
    started   TEXT NOT NULL,
    ended     TEXT,
    outcome   TEXT,
    exit_code INTEGER,
    seconds   REAL,
    error     TEXT               -- JSON
) WITHOUT ROWID;
CREATE INDEX runs_of_pipeline ON runs (pipeline, id);
CREATE TABLE stages (
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage    TEXT NOT NULL,
    instance TEXT NOT NULL,      -- what people call it; empty for a stage itself
    position INTEGER NOT NULL,   -- in the order in which they were first heard of
    kind     TEXT,
    session  INTEGER NOT NULL,   -- the last one that had to do with it
    attempt  INTEGER NOT NULL DEFAULT 0,
    started  TEXT,
    ended    TEXT,
    outcome  TEXT,
    seconds  REAL,
    bytes    INTEGER,
    outputs  TEXT,               -- JSON, secrets masked
    reason   TEXT,
    error    TEXT,               -- JSON
    PRIMARY KEY (run, stage, instance)
) WITHOUT ROWID;
CREATE TABLE remarks (            -- warnings, and why an attempt failed that was made again
    id       INTEGER PRIMARY KEY,
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage    TEXT NOT NULL,
    instance TEXT NOT NULL,
    session  INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    at       TEXT NOT NULL,
    is_retry INTEGER NOT NULL,
    problem  TEXT NOT NULL       -- JSON
);
CREATE INDEX remarks_of_run ON remarks (run);
CREATE TABLE effects (            -- what is proven done, for a run that is resumed
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    stage    TEXT NOT NULL,
    instance INTEGER NOT NULL,   -- its number; -1 for a stage without a matrix
    key      TEXT NOT NULL,      -- of all that it depends on
    outputs  TEXT NOT NULL,      -- JSON
    artifact TEXT,               -- JSON: file in the work folder, length and digest
    warned   INTEGER NOT NULL,
    PRIMARY KEY (run, stage, instance)
) WITHOUT ROWID;
CREATE TABLE deliveries (         -- objects on their way: what may be left of them, and what tells that one is the run's own
    run      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    uri      TEXT NOT NULL,
    began    TEXT NOT NULL,
    coming   TEXT,               -- JSON, once all its bytes are with the store and it is about to appear
    PRIMARY KEY (run, uri)
) WITHOUT ROWID;

INSERT INTO runs VALUES ('01KB0000000000000000000001', 'orders', '/srv/orders.yaml', 'abcd', '{"environment":"staging"}',
    '{"run":{"id":"01KB0000000000000000000001"}}', 2, 4711, 99, '2026-01-02T03:04:05.000Z', '2026-01-02T03:05:05.000Z', 'failure', 1,
    60.0, '{"code":"TL0632","message":"it is there"}');
INSERT INTO runs (id, pipeline, file, sha256, fixed, process, since, started)
VALUES ('01KB0000000000000000000002', 'orders', '/srv/orders.yaml', 'abcd', '{}', 4712, 100, '2026-01-03T03:04:05.000Z');
INSERT INTO stages VALUES ('01KB0000000000000000000001', 'collect', '', 0, 'archive', 2, 1, '2026-01-02T03:04:05.000Z',
    '2026-01-02T03:04:06.000Z', 'success', 1.0, 3, '{"files":1}', NULL, NULL);
INSERT INTO stages VALUES ('01KB0000000000000000000001', 'deliver', 'nas', 1, 'upload', 2, 3, '2026-01-02T03:04:06.000Z',
    '2026-01-02T03:05:05.000Z', 'failure', 59.0, NULL, NULL, NULL, '{"code":"TL0632","message":"it is there"}');
INSERT INTO remarks (run, stage, instance, session, attempt, at, is_retry, problem)
VALUES ('01KB0000000000000000000001', 'deliver', 'nas', 2, 1, '2026-01-02T03:04:30.000Z', 1, '{"code":"TL0646","message":"no"}');
INSERT INTO effects VALUES ('01KB0000000000000000000001', 'collect', -1, 'key', '{"files":1}', NULL, 0);
INSERT INTO deliveries VALUES ('01KB0000000000000000000001', '/mnt/nas/o', '2026-01-02T03:04:06.000Z', '{"token":"t"}');
PRAGMA user_version = 3;

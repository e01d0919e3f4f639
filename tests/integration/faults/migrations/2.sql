-- The texts of pipelines: version 2.
CREATE TABLE texts (
    sha256  TEXT PRIMARY KEY,    -- of the content, in hexadecimal
    content BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE versions (
    id         INTEGER PRIMARY KEY,
    path       NOT NULL,         -- of the pipeline file; bytes where it is no text
    number     INTEGER NOT NULL, -- from 1, for each path
    digest     TEXT NOT NULL,    -- what tells one set of texts from another
    pipeline   TEXT NOT NULL,    -- its name
    kept       TEXT NOT NULL,
    first_used TEXT,             -- by a run; none where it was kept only because another text took its place
    last_used  TEXT,
    UNIQUE (path, number),
    UNIQUE (path, digest)
);
CREATE TABLE version_files (
    version  INTEGER NOT NULL REFERENCES versions (id),
    position INTEGER NOT NULL,   -- 0 is the pipeline file itself
    path     NOT NULL,
    sha256   TEXT NOT NULL REFERENCES texts (sha256),
    PRIMARY KEY (version, position)
) WITHOUT ROWID;

INSERT INTO texts VALUES ('5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03', x'68656c6c6f0a');
INSERT INTO versions VALUES (7, '/srv/orders.yaml', 1, 'digest', 'orders', '2026-01-02T03:04:05.000Z', '2026-01-02T03:04:05.000Z',
    '2026-01-03T03:04:05.000Z');
INSERT INTO version_files VALUES (7, 0, '/srv/orders.yaml', '5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03');
PRAGMA user_version = 2;

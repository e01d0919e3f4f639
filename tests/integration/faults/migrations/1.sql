-- The outbox: version 1.
CREATE TABLE outbox (
    id           TEXT NOT NULL,  -- the same for each attempt
    channel      TEXT NOT NULL,  -- its name in the pipeline file
    pipeline     TEXT NOT NULL,
    file         NOT NULL,       -- path of the pipeline file, where the channel is found again; bytes where it is no text
    inputs       TEXT NOT NULL,  -- JSON: the settings of the channel may use them
    message      TEXT NOT NULL,  -- JSON
    state        TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    created      TEXT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_at      TEXT NOT NULL,
    claimed_by   TEXT,           -- who is sending it; of no meaning when its process is gone
    last_error   TEXT,
    delivered_at TEXT,
    answer       TEXT,
    PRIMARY KEY (id, channel)
);
CREATE INDEX outbox_pending ON outbox (next_at) WHERE state = 'pending';

INSERT INTO outbox (id, channel, pipeline, file, inputs, message, created, attempts, next_at, last_error)
VALUES ('01KB0000000000000000000001.failure.0', 'log', 'orders', '/srv/orders.yaml', '{}',
    '{"id":"01KB0000000000000000000001.failure.0","when":"failure","subject":"orders failed"}', '2026-01-02T03:04:05.678Z', 2,
    '2999-01-01T00:00:00.000Z', 'error[TL0670]: refused');
INSERT INTO outbox (id, channel, pipeline, file, inputs, message, state, created, attempts, next_at, delivered_at, answer)
VALUES ('01KB0000000000000000000002.success.0', 'log', 'orders', CAST('/srv/' || x'ff' AS BLOB), '{}', '{}', 'delivered',
    '2026-01-02T03:04:06.000Z', 1, '2026-01-02T03:04:06.000Z', '2026-01-02T03:04:07.000Z', '537 bytes appended');
PRAGMA user_version = 1;

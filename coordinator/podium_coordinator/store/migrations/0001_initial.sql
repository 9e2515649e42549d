-- Everything a run is made of. Every primary key under a run begins with run_id, a UUIDv7, so that these tables can be
-- partitioned by time later. Columns that change often carry no index, or their updates could not stay on the page.

-- Who owns a shard, and under which epoch. Logged on purpose: an epoch must never come back. `session` is the process id of
-- the owner's connection in the server.
CREATE TABLE leadership (
    shard       int PRIMARY KEY,
    epoch       bigint NOT NULL DEFAULT 0,
    holder      text NOT NULL DEFAULT '',
    address     text NOT NULL DEFAULT '',
    lease_until timestamptz NOT NULL DEFAULT 'epoch',
    session     int
) WITH (fillfactor = 10);

INSERT INTO leadership (shard) VALUES (0);

-- Locks the shard's epoch until the transaction ends; fails when another epoch is current. FOR SHARE is what makes a
-- takeover wait for this commit: a weaker lock or a condition in a subquery would let an old owner commit after it.
CREATE FUNCTION fence(wanted_shard int, wanted_epoch bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM podium.leadership WHERE shard = wanted_shard AND epoch = wanted_epoch FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'epoch % of shard % is not current', wanted_epoch, wanted_shard USING ERRCODE = 'PD001';
    END IF;
END
$$;

-- Fails unless a statement hit as many rows as it was told to.
CREATE FUNCTION expect(what text, wanted bigint, hit bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF wanted IS DISTINCT FROM hit THEN
        RAISE EXCEPTION '% hit % rows, not %', what, hit, wanted USING ERRCODE = 'PD002';
    END IF;
END
$$;

CREATE TABLE workflow_version (
    workflow   text COLLATE "C" NOT NULL,
    version    int NOT NULL CHECK (version > 0),
    digest     bytea NOT NULL,
    spec       bytea NOT NULL,
    bundle     bytea,
    task_count int NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workflow, version)
);

CREATE INDEX workflow_version_bundle ON workflow_version (bundle) WHERE bundle IS NOT NULL;

CREATE TABLE run (
    run_id      uuid PRIMARY KEY,
    shard       int NOT NULL,
    workflow    text COLLATE "C" NOT NULL,
    version     int NOT NULL,
    task_count  int NOT NULL,
    params      bytea NOT NULL,
    state       text NOT NULL,
    outcome     text,
    request_id  text UNIQUE,
    fingerprint bytea NOT NULL,
    trace_id    bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz,
    reason      text NOT NULL DEFAULT '',
    counts      jsonb,
    FOREIGN KEY (workflow, version) REFERENCES workflow_version
) WITH (fillfactor = 80);

CREATE INDEX run_unfinished ON run (shard, run_id) WHERE state IN ('queued', 'running', 'paused', 'cancelling');
CREATE INDEX run_by_workflow ON run (workflow, run_id DESC);

-- One row per attempt, born at dispatch, updated when it ends, and when it starts if that is long before. An end grows the
-- row; half of each page is left for that, or nine of ten would have to move to another page and be indexed anew.
CREATE TABLE attempt (
    run_id      uuid NOT NULL,
    task        int NOT NULL,
    map_index   int NOT NULL,
    number      int NOT NULL,
    token       uuid NOT NULL,
    agent_id    uuid NOT NULL,
    state       text NOT NULL,
    assigned_at timestamptz NOT NULL,
    started_at  timestamptz,
    finished_at timestamptz,
    closes      boolean NOT NULL DEFAULT false,
    retry_at    timestamptz,
    log_bytes   bigint NOT NULL DEFAULT 0,
    failure     bytea,
    log_blob    bytea,
    output      bytea,
    log         bytea,
    PRIMARY KEY (run_id, task, map_index, number)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Task runs that ended without an attempt deciding it.
CREATE TABLE task_run (
    run_id      uuid NOT NULL,
    task        int NOT NULL,
    map_index   int NOT NULL,
    state       text NOT NULL,
    failure     bytea,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, task, map_index)
);

-- What users ask of a shard's owner.
CREATE TABLE command (
    command_id uuid PRIMARY KEY,
    run_id     uuid NOT NULL,
    shard      int NOT NULL,
    kind       text NOT NULL,
    reason     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz
);

CREATE INDEX command_pending ON command (shard, created_at) WHERE applied_at IS NULL;

CREATE TABLE agent (
    agent_id     uuid PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE,
    state        text NOT NULL,
    host         bytea NOT NULL,
    draining     boolean NOT NULL,
    connected_at timestamptz NOT NULL,
    changed_at   timestamptz NOT NULL
) WITH (fillfactor = 80);

-- Which bytes the blob store holds. `wanted_at` is when somebody last stored it or asked about it.
CREATE TABLE blob (
    sha256     bytea PRIMARY KEY CHECK (length(sha256) = 32),
    size       bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    wanted_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);

-- Which blobs an attempt refers to: files and values of its output, or its log (`purpose`).
CREATE TABLE attempt_blob (
    run_id    uuid NOT NULL,
    task      int NOT NULL,
    map_index int NOT NULL,
    number    int NOT NULL,
    purpose   text NOT NULL,
    sha256    bytea NOT NULL,
    name      text NOT NULL,
    size      bigint NOT NULL,
    PRIMARY KEY (run_id, task, map_index, number, purpose, sha256, name)
);

CREATE INDEX attempt_blob_sha256 ON attempt_blob (sha256);

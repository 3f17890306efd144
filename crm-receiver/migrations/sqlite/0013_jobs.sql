-- Jobs of other services, as far as their updates and their registration say.
CREATE TABLE jobs (
    -- A digest of the source and of the source's name of the job.
    id TEXT NOT NULL PRIMARY KEY,
    source_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    property_id TEXT,
    user_id TEXT,
    status TEXT NOT NULL,
    -- The time and the digest of the update that stands; none until one comes.
    standing_at INTEGER,
    standing_digest TEXT,
    progress INTEGER,
    error TEXT,
    -- How many updates are kept.
    intermediate_updates INTEGER NOT NULL,
    terminal_updates INTEGER NOT NULL,
    registered_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Written by each update, so that two of them wait for each other.
    guard INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_created ON jobs (created_at, id);

CREATE INDEX jobs_updated ON jobs (updated_at, id);

CREATE INDEX jobs_source ON jobs (source_id);

CREATE INDEX jobs_job ON jobs (job_id);

CREATE INDEX jobs_status ON jobs (status);

CREATE INDEX jobs_property ON jobs (property_id);

CREATE INDEX jobs_user ON jobs (user_id);

-- The updates of a job, each once.
CREATE TABLE job_updates (
    job TEXT NOT NULL,
    -- Of the body, under the digest key of the source.
    digest TEXT NOT NULL,
    status TEXT NOT NULL,
    at INTEGER NOT NULL,
    progress INTEGER,
    error TEXT,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (job, digest)
) STRICT, WITHOUT ROWID;

-- JSON: what a completed job has made, of the update that stands.
CREATE TABLE job_results (
    job TEXT NOT NULL PRIMARY KEY,
    result BLOB NOT NULL
) STRICT;

-- JSON: what was asked for.
CREATE TABLE job_registrations (
    job TEXT NOT NULL PRIMARY KEY,
    details BLOB NOT NULL
) STRICT;

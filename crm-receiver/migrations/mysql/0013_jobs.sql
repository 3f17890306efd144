-- Jobs of other services, as far as their updates and their registration say.
CREATE TABLE jobs (
    -- A digest of the source and of the source's name of the job.
    id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    source_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    job_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    property_id VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NULL,
    user_id VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- The time and the digest of the update that stands; none until one comes.
    standing_at BIGINT NULL,
    standing_digest VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NULL,
    progress BIGINT NULL,
    error VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    -- How many updates are kept.
    intermediate_updates BIGINT NOT NULL,
    terminal_updates BIGINT NOT NULL,
    registered_at BIGINT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- Written by each update, so that two of them wait for each other.
    guard BIGINT NOT NULL,
    KEY jobs_created (created_at, id),
    KEY jobs_updated (updated_at, id),
    KEY jobs_source (source_id),
    KEY jobs_job (job_id),
    KEY jobs_status (status),
    KEY jobs_property (property_id),
    KEY jobs_user (user_id)
) ENGINE = InnoDB;

-- The updates of a job, each once.
CREATE TABLE job_updates (
    job VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    -- Of the body, under the digest key of the source.
    digest VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    status VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    at BIGINT NOT NULL,
    progress BIGINT NULL,
    error VARCHAR(2000) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (job, digest)
) ENGINE = InnoDB;

-- JSON: what a completed job has made, of the update that stands.
CREATE TABLE job_results (
    job VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    result MEDIUMBLOB NOT NULL
) ENGINE = InnoDB;

-- JSON: what was asked for.
CREATE TABLE job_registrations (
    job VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    details MEDIUMBLOB NOT NULL
) ENGINE = InnoDB;

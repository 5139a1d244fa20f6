-- +goose Up
-- Work that one process at a time does, such as the compaction of a directory
-- of tables. until is in Unix milliseconds.
CREATE TABLE lease (
    name  TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- When a piece of housekeeping was last done.
CREATE TABLE housekeeping (
    name TEXT PRIMARY KEY,
    last BIGINT NOT NULL
);

-- +goose Up
CREATE TABLE revision (
    topic TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

-- A token is kept as the SHA-256 of its text, in hexadecimal.
CREATE TABLE token (
    id        TEXT PRIMARY KEY,
    hash      TEXT NOT NULL UNIQUE,
    kind      TEXT NOT NULL,
    principal TEXT NOT NULL,
    comment   TEXT NOT NULL,
    scopes    TEXT NOT NULL,
    created   BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE INDEX token_principal ON token (principal);
CREATE INDEX token_expires ON token (expires);

CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at_s INTEGER NOT NULL);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,  -- order of arrival
    owner TEXT NOT NULL,
    run TEXT NOT NULL,
    parent TEXT,
    status TEXT NOT NULL,  -- in_progress, or what its run.finished says
    created_at_s INTEGER NOT NULL,
    finished_at_s INTEGER,
    deleted_at_s INTEGER, api TEXT NOT NULL DEFAULT 'responses', model TEXT, metadata TEXT NOT NULL DEFAULT '{}',
    UNIQUE (owner, run),
    FOREIGN KEY (owner, parent) REFERENCES runs (owner, run)
);
CREATE INDEX runs_by_parent ON runs (owner, parent) WHERE parent IS NOT NULL;
CREATE INDEX runs_unfinished ON runs (number) WHERE status = 'in_progress';
CREATE TABLE items (
    owner TEXT NOT NULL,
    run TEXT NOT NULL,
    direction TEXT NOT NULL CHECK (direction IN ('input', 'output')),
    position INTEGER NOT NULL,
    item_id TEXT,
    type TEXT,
    data TEXT NOT NULL,  -- the item, as JSON
    PRIMARY KEY (owner, run, direction, position),
    FOREIGN KEY (owner, run) REFERENCES runs (owner, run) ON DELETE CASCADE
);
CREATE TABLE segments (
    owner TEXT NOT NULL,
    run TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
    blob BLOB NOT NULL,
    PRIMARY KEY (owner, run, first_seq),
    FOREIGN KEY (owner, run) REFERENCES runs (owner, run) ON DELETE CASCADE
);
CREATE INDEX runs_of_chats ON runs (owner, number) WHERE api = 'chat';
